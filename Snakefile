# From a table of experiments to the paper's tables. `snakemake` runs what is stale; `snakemake -n` shows what that is.


# If a `git+file:` repository has its Snakefile at the root, Snakemake 9.27 looks for included files at the disk's root.
if getattr(workflow.included_stack[-1], "repo_path", None):
    workflow.included_stack[-1].path = f"./{workflow.included_stack[-1].path}"


include: "workflow/rules/checkout.smk"
include: "workflow/rules/plan.smk"


for verb in verbs():

    include: f"workflow/rules/{verb}.smk"


rule all:
    default_target: True
    input:
        rules.report.output,
    message:
        "all"


# What would run, why, and what it would cost; `python -m palette plan` has more options.
rule plan:
    log:
        results / "logs/plan.log",
    localrule: True
    message:
        "plan"
    run:
        text = forecast.report(plan)
        print(text)
        Path(log[0]).write_text(text, encoding="utf-8")


# Data, masks and models, without samples and scores: a good first night on a new cluster.
rule models:
    input:
        [made(spec.folder) for spec in plan.stages.values() if spec.verb == "train"],
    message:
        "models"


onstart:
    or_stop(refuse_arrays, workflow.executor_settings)
    files = to_make()
    lock = begin(files) if files else None


onsuccess:
    if to_make():
        if page(plan).exists():  # not after `--until prepare`
            print(f"\nDone. Look at {page(plan)}")
        end(plan, plan.config.hooks.success, log)


onerror:
    print(
        "\nA job failed: its message is above, its log under "
        f"{plan.results / 'logs'}. Run the same command again; it resumes where it stopped."
    )
    end(plan, plan.config.hooks.error, log)
