rule report:
    input:
        [ancient(results / file) for file in plan.inputs(plan.report.folder)],
    output:
        page=report(
            results / plan.report.folder / "index.html",
            category="Overview",
            caption="../report/page.rst",
        ),
        card=results / plan.report.card,
    params:
        spec=results / plan.report.folder / "spec.yaml",
    log:
        results / "logs/report.log",
    conda:
        "../../envs/conda.yaml"
    message:
        "report"
    shell:
        "python -m palette report -c {params.spec} 2>&1 | tee {log}"
