rule fetch:
    output:
        manifest=results / "fetch/{stage}/manifest.jsonl",
        card=results / "fetch/{stage}/card.json",
    log:
        results / "logs/fetch/{stage}.log",
    conda:
        "../../envs/conda.yaml"
    threads: threads_of("fetch")
    resources:
        **asked("fetch"),
    params:
        spec=spec_of("fetch"),
    message:
        "fetch {wildcards.stage}"
    shell:
        "python -m palette fetch -c {params.spec:q} 2>&1 | into {log:q}"
