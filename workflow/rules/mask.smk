rule mask:
    input:
        needed("mask"),
    output:
        masks=results / "mask/{stage}/masks.zip",
        areas=results / "mask/{stage}/masks.json",
        sheet=results / "mask/{stage}/masks.png",
        card=results / "mask/{stage}/card.json",
    log:
        results / "logs/mask/{stage}.log",
    conda:
        "../../envs/conda.yaml"
    resources:
        **asked("mask"),
    params:
        spec=spec_of("mask"),
    message:
        "mask {wildcards.stage}"
    shell:
        "python -m palette mask -c {params.spec:q} 2>&1 | into {log:q}"
