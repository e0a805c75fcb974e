FROM python:3.11-slim AS builder
# Where pip finds torch. Empty: the usual index, whose Linux build carries CUDA and some gigabytes.
# PyTorch's own index for CPU builds makes a far smaller image; its CUDA indexes pick a CUDA version.
ARG TORCH_INDEX_URL=
RUN python -m venv /opt/bestepoch
ENV PATH=/opt/bestepoch/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
# The libraries first: this layer stays while only our own source changes.
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN mkdir service migrations examples && touch service/__init__.py examples/penguins.csv \
 && if [ -n "$TORCH_INDEX_URL" ]; then \
      pip install -c constraints.txt --no-deps --index-url "$TORCH_INDEX_URL" torch; fi \
 && pip install -c constraints.txt '.[onnx]'
COPY service service
COPY migrations migrations
COPY examples/penguins.csv examples/penguins.csv
RUN pip install --no-deps --force-reinstall .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin bestepoch \
 && install -d -o bestepoch -g bestepoch /data
COPY --from=builder /opt/bestepoch /opt/bestepoch
ENV PATH=/opt/bestepoch/bin:$PATH PYTHONUNBUFFERED=1 BESTEPOCH_HOME=/data
USER bestepoch
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('BESTEPOCH_PORT', 8000)}/healthz\", timeout=4)"]
# Anybody may reach this address: it starts only with BESTEPOCH_API_KEY set, or once a key was made.
CMD ["bestepoch", "serve", "--host", "0.0.0.0"]
