# Images of the API, of workers, and of both in one container, which is built where no --target is named:
#   docker build --target api --tag bestepoch-api .
#   docker build --target worker --tag bestepoch-worker .    with TORCH_INDEX_URL: a worker for CPUs or for CUDA
# The base image by digest, once one is chosen: PYTHON_IMAGE=python:3.11-slim@sha256:...; the lock files are for 3.11.
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE} AS builder
# Where pip finds torch. Empty: the usual index, whose Linux build carries CUDA and some gigabytes.
# PyTorch's own index for CPU builds makes a far smaller image; its CUDA indexes pick a CUDA version.
ARG TORCH_INDEX_URL=
RUN python -m venv /opt/build && python -m venv /opt/bestepoch
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
# The libraries first: this layer stays while only our own source changes. All but torch are held to their SHA-256;
# each build of torch is another file, so torch and what CUDA it brings are held to a version alone. Its headers, tests
# and tools, a quarter of the build for CPUs, are left out.
COPY constraints.txt requirements.lock build.lock ./
RUN /opt/build/bin/pip install --require-hashes --no-deps -r build.lock \
 && /opt/bestepoch/bin/pip install --require-hashes --no-deps -r requirements.lock \
 && if [ -n "$TORCH_INDEX_URL" ]; then \
      /opt/bestepoch/bin/pip install -c constraints.txt --no-deps --index-url "$TORCH_INDEX_URL" torch; fi \
 && /opt/bestepoch/bin/pip install -c constraints.txt torch \
 && cd /opt/bestepoch/lib/python3.*/site-packages/torch \
 && rm -rf include test && find bin -type f ! -name torch_shm_manager -delete
COPY pyproject.toml README.md LICENSE ./
COPY bestepoch bestepoch
COPY service service
COPY migrations migrations
COPY examples/penguins.csv examples/penguins.csv
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /source/wheels . \
 && /opt/bestepoch/bin/pip install --no-index --find-links /source/wheels 'bestepoch[server,onnx,baseline]' \
 && /opt/bestepoch/bin/pip check

# Workers export no models and train no baselines.
FROM builder AS worker-builder
RUN /opt/bestepoch/bin/pip uninstall --yes cloudpickle flatbuffers joblib ml-dtypes narwhals onnx onnx-ir onnxruntime \
      onnxscript protobuf scikit-learn scipy threadpoolctl \
 && /opt/bestepoch/bin/pip check

FROM ${PYTHON_IMAGE} AS base
RUN groupadd --system --gid 10001 bestepoch \
 && useradd --system --uid 10001 --gid bestepoch --home-dir /data --shell /usr/sbin/nologin bestepoch \
 && install -d -m 700 -o bestepoch -g bestepoch /data /data/tmp
# Uploads as forms wait in TMPDIR: on the volume, for memory is dearer.
ENV PATH=/opt/bestepoch/bin:$PATH PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 BESTEPOCH_HOME=/data TMPDIR=/data/tmp
USER bestepoch
WORKDIR /data
VOLUME /data

FROM base AS worker
COPY --from=worker-builder /opt/bestepoch /opt/bestepoch
CMD ["bestepoch", "worker"]

FROM base AS api
COPY --from=builder /opt/bestepoch /opt/bestepoch
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('BESTEPOCH_PORT', 8000)}/healthz\", timeout=4)"]
# Anybody may reach this address: it starts only with BESTEPOCH_API_KEY set, or once a key was made.
CMD ["bestepoch", "api", "--host", "0.0.0.0"]

FROM api AS all-in-one
CMD ["bestepoch", "serve", "--host", "0.0.0.0"]
