rule sample:
    input:
        needed("sample"),
    output:
        images=results / "sample/{stage}/shard-{shard}.zip",
        draws=results / "sample/{stage}/draws-{shard}.zip",
        card=results / "sample/{stage}/shard-{shard}.json",
    log:
        results / "logs/sample/{stage}-{shard}.log",
    conda:
        "../../envs/conda.yaml"
    threads: threads_of("sample")
    resources:
        **asked("sample"),
    params:
        spec=spec_of("sample"),
    message:
        "sample {wildcards.stage}, shard {wildcards.shard}"
    shell:
        "python -m palette sample -c {params.spec:q} --shard $((10#{wildcards.shard})) 2>&1 | into {log:q}"
