# vidfeat on PyTorch for CUDA. In a checkout: docker build -f docker/cuda.Dockerfile -t vidfeat-cuda .
# Run it with --gpus all. CUDA's libraries come with PyTorch; the driver is that of the host.
FROM python:3.13-slim
# torch.compile needs a compiler, torchcodec FFmpeg's libraries.
RUN apt-get update && apt-get install -y --no-install-recommends g++ ffmpeg && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/vidfeat
COPY . .
RUN pip install --no-cache-dir -c constraints.txt '.[hdf5,nvdec]'
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
RUN useradd --create-home vidfeat
USER vidfeat
WORKDIR /home/vidfeat
ENTRYPOINT ["vidfeat"]
CMD ["--help"]
