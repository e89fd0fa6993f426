# From a table of experiments to the paper's tables. `snakemake` runs what is stale; `snakemake -n` shows what that is.


# If a `git+file:` repository has its Snakefile at the root, Snakemake 9.27 looks for included files at the disk's root.
if getattr(workflow.included_stack[-1], "repo_path", None):
    workflow.included_stack[-1].path = f"./{workflow.included_stack[-1].path}"


include: "workflow/rules/checkout.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/mask.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/tabulate.smk"
include: "workflow/rules/report.smk"


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
        text = shown(plan, options())
        print(text)
        Path(log[0]).write_text(text, encoding="utf-8")


# Data, masks and models, without samples and scores: a good first night on a new cluster.
rule models:
    input:
        [made(s.folder) for s in plan.of_kind("train") + plan.of_kind("released")],
    message:
        "models"


onstart:
    or_stop(refuse_arrays, workflow.executor_settings)
    lock = None if only_planning() else begin()


onsuccess:
    if not only_planning():
        if page(plan).exists():  # not after `--until prepare`
            print(f"\nDone. Look at {page(plan)}")
        end(plan, plan.config.hooks.success, log)


onerror:
    print(
        "\nA job failed: its message is above, its log under "
        f"{plan.results / 'logs'}. Run the same command again; it resumes where it stopped."
    )
    end(plan, plan.config.hooks.error, log)
