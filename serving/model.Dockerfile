# An image with one version of a model in it, on top of `inkflow:serve`. The folder of the version is the context:
#   docker build --tag digits:v0.1.0 --file serving/model.Dockerfile "$(python -m flows.registry.resolve cnn@v0.1.0)"
FROM inkflow:serve
# 555, not 444: BuildKit gives this mode to the folder too, and the server has to enter it.
COPY --chmod=555 . /model
# The record of the watch is written here: the root file system is read-only (docs/watching.md).
WORKDIR /tmp
CMD ["/model", "--name=cnn", "--host=0.0.0.0"]
