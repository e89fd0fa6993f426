# The training state is in results/state, outside the outputs, because Snakemake deletes outputs before it reruns a job.
rule train:
    input:
        needed("train"),
    output:
        model=results / "train/{stage}/model.safetensors",
        # The averages of `ema_widths`; empty without them.
        averages=results / "train/{stage}/averages.safetensors",
        facts=results / "train/{stage}/model.json",
        curve=results / "train/{stage}/log.jsonl",
        card=results / "train/{stage}/card.json",
    log:
        results / "logs/train/{stage}.log",
    # The longest jobs start first; short ones fill the gaps.
    priority: 1
    conda:
        "../../envs/conda.yaml"
    threads: threads_of("train")
    resources:
        **asked("train"),
    params:
        spec=spec_of("train"),
        launcher=launcher_of("train"),
        gpus=gpus_of("train"),
    message:
        "train {wildcards.stage}"
    shell:
        "{params.launcher} python -m palette train -c {params.spec:q} --gpus {params.gpus} 2>&1 | into {log:q}"


# A model trained by others, in place of a training.
rule released:
    output:
        model=results / "released/{stage}/model.safetensors",
        facts=results / "released/{stage}/model.json",
        card=results / "released/{stage}/card.json",
    log:
        results / "logs/released/{stage}.log",
    conda:
        "../../envs/conda.yaml"
    resources:
        **asked("released"),
    params:
        spec=spec_of("released"),
    message:
        "train: released model {wildcards.stage}"
    shell:
        "python -m palette train -c {params.spec:q} 2>&1 | into {log:q}"
