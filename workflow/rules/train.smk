# The training state lives in results/state, outside the outputs: Snakemake deletes outputs before it runs a job again.
rule train:
    input:
        needed("train"),
    output:
        model=results / "train/{stage}/model.safetensors",
        facts=results / "train/{stage}/model.json",
        curve=results / "train/{stage}/log.jsonl",
        card=results / "train/{stage}/card.json",
    log:
        results / "logs/train/{stage}.log",
    conda:
        "../../envs/conda.yaml"
    threads: threads_of("train")
    resources:
        gpu=gpus_of("train"),
    params:
        spec=spec_of("train"),
    message:
        "train {wildcards.stage}"
    shell:
        "python -m palette train -c {params.spec} 2>&1 | tee {log}"
