"""One module for each kind of stage: its spec, what it writes, its usual resources on a cluster, and `run`.

The spec is all that the result of a stage depends on, and nothing else. A stage reads its spec and its parents' files
and writes its own folder, `results/<kind>/<name>-<hash>/`. The hash covers every field except `name` and `runtime`;
parents enter with their own hashes. So a changed option, a changed line of engine code or a changed parent leads to
another folder, and the content of a folder is always what its name says.
"""
