# vidfeat on PyTorch's CPU build. In a checkout: docker build -f docker/cpu.Dockerfile -t vidfeat .
FROM python:3.13-slim
# torch.compile needs a compiler.
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/vidfeat
COPY . .
RUN pip install --no-cache-dir -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch \
    && pip install --no-cache-dir -c constraints.txt '.[hdf5]'
RUN useradd --create-home vidfeat
USER vidfeat
WORKDIR /home/vidfeat
ENTRYPOINT ["vidfeat"]
CMD ["--help"]
