rule fetch:
    output:
        manifest=results / "fetch/{stage}/manifest.json",
        card=results / "fetch/{stage}/card.json",
    params:
        spec=spec_of("fetch"),
    log:
        results / "logs/fetch/{stage}.log",
    conda:
        "../../envs/conda.yaml"
    message:
        "fetch {wildcards.stage}"
    shell:
        "python -m palette fetch -c {params.spec} 2>&1 | tee {log}"
