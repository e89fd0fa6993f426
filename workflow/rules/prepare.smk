rule prepare:
    input:
        needed("prepare"),
    output:
        train=results / "prepare/{stage}/train.zip",
        test=results / "prepare/{stage}/test.zip",
        # Empty unless the dataset consists of pairs.
        train_conditions=results / "prepare/{stage}/train-conditions.zip",
        test_conditions=results / "prepare/{stage}/test-conditions.zip",
        list=results / "prepare/{stage}/prepare.json",
        card=results / "prepare/{stage}/card.json",
    log:
        results / "logs/prepare/{stage}.log",
    conda:
        "../../envs/conda.yaml"
    threads: threads_of("prepare")
    resources:
        **asked("prepare"),
    params:
        spec=spec_of("prepare"),
    message:
        "prepare {wildcards.stage}"
    shell:
        "python -m palette prepare -c {params.spec:q} 2>&1 | into {log:q}"
