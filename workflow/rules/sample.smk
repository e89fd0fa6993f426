rule sample:
    input:
        needed("sample"),
    output:
        images=results / "sample/{stage}/shard-{shard}.zip",
        draws=results / "sample/{stage}/draws-{shard}.zip",
        card=results / "sample/{stage}/shard-{shard}.json",
    params:
        spec=spec_of("sample"),
    log:
        results / "logs/sample/{stage}-{shard}.log",
    threads: threads_of("sample")
    resources:
        gpu=gpus_of("sample"),
    conda:
        "../../envs/conda.yaml"
    message:
        "sample {wildcards.stage}, shard {wildcards.shard}"
    shell:
        "python -m palette sample -c {params.spec} --shard $((10#{wildcards.shard})) 2>&1 | tee {log}"
