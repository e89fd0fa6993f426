rule prepare:
    input:
        needed("prepare"),
    output:
        train=results / "prepare/{stage}/train.zip",
        test=results / "prepare/{stage}/test.zip",
        list=results / "prepare/{stage}/prepare.json",
        card=results / "prepare/{stage}/card.json",
    log:
        results / "logs/prepare/{stage}.log",
    conda:
        "../../envs/conda.yaml"
    params:
        spec=spec_of("prepare"),
    message:
        "prepare {wildcards.stage}"
    shell:
        "python -m palette prepare -c {params.spec:q} 2>&1 | tee -i {log:q}"
