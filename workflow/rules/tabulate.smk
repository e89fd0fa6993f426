# One rule per table, with the table's name: `snakemake table_1` makes it and what it needs, `snakemake tables` makes all.
for table in plan.tables:

    rule:
        name:
            table.name
        input:
            awaited(table.folder),
        output:
            csv=report(
                results / table.folder / f"{table.name}.csv",
                category="Tables",
                caption="../report/table.rst",
            ),
            text=[
                results / table.folder / f"{table.name}.{ending}"
                for ending in ("md", "tex", "html")
            ],
            card=results / table.card,
        log:
            results / f"logs/tabulate/{table.name}.log",
        conda:
            "../../envs/conda.yaml"
        resources:
            **asked("tabulate"),
        params:
            spec=plan.results / table.folder / "spec.yaml",
        message:
            f"tabulate {table.name}"
        shell:
            "python -m palette tabulate -c {params.spec:q} 2>&1 | into {log:q}"


rule tables:
    input:
        [made(table.folder) for table in plan.tables],
    message:
        "tables"
