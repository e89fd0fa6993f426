# Four steps: the feature network of a dataset; the features of a row's images (scattered); the statistics of the
# reference images (once for all rows); the scores of the row (gathered).
rule extractor:
    input:
        needed("extractor"),
    output:
        extractor=results / "extractor/{stage}/extractor.json",
        card=results / "extractor/{stage}/card.json",
    log:
        results / "logs/extractor/{stage}.log",
    conda:
        "../../envs/conda.yaml"
    threads: threads_of("extractor")
    resources:
        **asked("extractor"),
    params:
        spec=spec_of("extractor"),
    message:
        "score: feature network {wildcards.stage}"
    shell:
        "python -m palette score -c {params.spec:q} 2>&1 | into {log:q}"


rule features:
    input:
        needed("features"),
    output:
        features=results / "features/{stage}/shard-{shard}.npz",
        card=results / "features/{stage}/shard-{shard}.json",
    log:
        results / "logs/features/{stage}-{shard}.log",
    conda:
        "../../envs/conda.yaml"
    threads: threads_of("features")
    resources:
        **asked("features"),
    params:
        spec=spec_of("features"),
    message:
        "score: features of {wildcards.stage}, shard {wildcards.shard}"
    shell:
        "python -m palette score -c {params.spec:q} --shard $((10#{wildcards.shard})) 2>&1 | into {log:q}"


rule statistics:
    input:
        needed("statistics"),
    output:
        statistics=results / "statistics/{stage}/statistics.npz",
        card=results / "statistics/{stage}/card.json",
    log:
        results / "logs/statistics/{stage}.log",
    conda:
        "../../envs/conda.yaml"
    threads: threads_of("statistics")
    resources:
        **asked("statistics"),
    params:
        spec=spec_of("statistics"),
    message:
        "score: statistics of {wildcards.stage}"
    shell:
        "python -m palette score -c {params.spec:q} 2>&1 | into {log:q}"


rule score:
    input:
        needed("score"),
    output:
        scores=results / "score/{stage}/scores.json",
        card=results / "score/{stage}/card.json",
    log:
        results / "logs/score/{stage}.log",
    conda:
        "../../envs/conda.yaml"
    resources:
        **asked("score"),
    params:
        spec=spec_of("score"),
    message:
        "score {wildcards.stage}"
    shell:
        "python -m palette score -c {params.spec:q} 2>&1 | into {log:q}"
