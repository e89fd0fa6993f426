rule tabulate:
    input:
        [ancient(results / file) for file in plan.inputs(plan.tabulate.folder)],
    output:
        csv=report(
            expand(results / "tabulate/{table}.csv", table=plan.tabulate.tables),
            category="Tables",
            caption="../report/table.rst",
        ),
        text=expand(
            results / "tabulate/{table}.{ending}",
            table=plan.tabulate.tables,
            ending=["md", "tex"],
        ),
        card=results / plan.tabulate.card,
    log:
        results / "logs/tabulate.log",
    conda:
        "../../envs/conda.yaml"
    params:
        spec=plan.results / plan.tabulate.folder / "spec.yaml",
    message:
        "tabulate"
    shell:
        "python -m palette tabulate -c {params.spec:q} 2>&1 | tee -i {log:q}"
