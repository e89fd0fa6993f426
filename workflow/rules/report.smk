rule report:
    input:
        awaited(plan.report.folder),
    output:
        page=report(
            results / plan.report.folder / "index.html",
            category="Overview",
            caption="../report/page.rst",
        ),
        figures=[
            report(
                results / plan.report.folder / "figures" / name,
                category="Figures",
                caption="../report/figure.rst",
            )
            for name in plan.report.figures
        ],
        # Snakemake's report embeds files, so it gets the small self-contained preview; the whole gallery is beside our
        # report.
        preview=[
            report(
                results / plan.report.folder / "gallery" / name,
                category="Gallery",
                caption="../report/gallery.rst",
            )
            for name in plan.report.gallery_files
            if name == "preview.html"
        ],
        gallery=[
            results / plan.report.folder / "gallery" / name
            for name in plan.report.gallery_files
            if name != "preview.html"
        ],
        card=results / plan.report.card,
    log:
        results / "logs/report.log",
    conda:
        "../../envs/conda.yaml"
    resources:
        **asked("report"),
    params:
        spec=plan.results / plan.report.folder / "spec.yaml",
    message:
        "report"
    shell:
        "python -m palette report -c {params.spec:q} 2>&1 | into {log:q}"
