# hello-lambda: builds, runs and deploys the container image. `make` alone shows the targets.
#
# Every knob below can be given on the command line, which wins, or in the environment; the AWS ones
# also in $(ENV_FILE). Works with GNU Make 3.81 and newer.

.DEFAULT_GOAL := help

# One value of $(ENV_FILE), unquoted. The file is read, not included: an include would override the
# shell's variables, keep the quotes, expand every `$`, and hand the invoker's keys to the aws CLI.
ENV_FILE ?= .env
hash := \#
env_value = $(shell sed -n 's/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p' "$(ENV_FILE)" 2>/dev/null | \
  sed -n -e 's/^"\([^"]*\)".*/\1/' -e 's/^'"'"'\([^'"'"']*\)'"'"'.*/\1/' -e 's/[[:space:]]$(hash).*//' -e 's/[[:space:]]*$$//' -e '$$p')

APP_NAME := hello-lambda
APP_PORT           ?= 5000
LAMBDA_CONTAINER_NAME ?= $(APP_NAME)
LAMBDA_PORT        ?= 9000
# x86_64 or arm64: what the image is built for, and what the function runs on.
ARCHITECTURE       ?= x86_64
# In MB. CPU comes with memory: below this, the imports of a cold start take seconds.
LAMBDA_MEMORY      ?= 512
# In seconds. API Gateway gives up at 29: whatever runs longer is paid for and thrown away.
LAMBDA_TIMEOUT     ?= 28

AWS_ACCOUNT_ID      ?= $(call env_value,AWS_ACCOUNT_ID)
AWS_REGION          ?= $(call env_value,AWS_REGION)
AWS_LAMBDA_ROLE_ARN ?= $(call env_value,AWS_LAMBDA_ROLE_ARN)
# China's registries have a domain of their own; set this one for another partition.
ECR_REGISTRY        ?= $(AWS_ACCOUNT_ID).dkr.ecr.$(AWS_REGION).amazonaws.com$(if $(filter cn-%,$(AWS_REGION)),.cn)
# Which pushed image the function is created from.
IMAGE_TAG           ?= latest

# What .venv is made with.
PYTHON              ?= python3

# --endpoint-url, since CLIs before 2.13 ignore the variable, and would call the real AWS.
aws := aws --region "$(AWS_REGION)" $(if $(AWS_ENDPOINT_URL),--endpoint-url "$(AWS_ENDPOINT_URL)")
# CLI v2 would stop a recipe in a pager.
export AWS_PAGER :=
# The invoker's pair is for the example alone. The aws CLI reads AWS_SECRET_ACCESS_KEY too, so it gets
# that one only next to the deployer's own AWS_ACCESS_KEY_ID.
unexport AWS_ACCESS_KEY
ifeq ($(AWS_ACCESS_KEY_ID),)
unexport AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
endif

# What is pushed carries its commit; what no commit describes carries the time as well.
image_version = $(shell commit=$$(git rev-parse --short=12 HEAD 2>/dev/null) && \
  [ -z "$$(git status --porcelain -- app Dockerfile .dockerignore requirements.txt)" ] && echo "$$commit" || \
  echo "$${commit:-no-commit}-$$(date -u +%Y%m%dT%H%M%SZ)")
image_uri = $(ECR_REGISTRY)/$(APP_NAME)

platform_x86_64 := linux/amd64
platform_arm64  := linux/arm64
platform        := $(platform_$(ARCHITECTURE))

# An activated environment is used as it is, conda's base apart; without one, .venv is made and used.
active_env := $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),$(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX)))
env := $(if $(active_env),$(active_env),.venv)
run := "$(env)/bin/python"
rie := .rie/aws-lambda-rie
# The emulator's binary is inside this wheel; `pip install` would bring its 80 dependencies as well.
rie_wheel := aws-sam-cli==1.170.0

help_AWS_ACCOUNT_ID      := your account, 12 digits: aws sts get-caller-identity --query Account --output text
help_AWS_REGION          := where to deploy, for example eu-central-1
help_AWS_LAMBDA_ROLE_ARN := the "ARN" on the role page of the IAM console, see "Create the function" in README.md

# $(call require,tools,variables): names everything that is missing, and stops before anything is done.
define require
@missing=; \
for tool in $1; do command -v "$$tool" >/dev/null || { missing=1; echo "$$tool is not installed; README.md, \"Prerequisites\", says where to get it" >&2; }; done; \
case " $1 " in *" docker "*) ! command -v docker >/dev/null || docker version >/dev/null 2>&1 || { missing=1; echo "no Docker engine answers: start Docker, or see what \`docker version\` says" >&2; };; esac; \
$(foreach variable,$2,$(if $(strip $($(variable))),,missing=1; echo '$(variable) is not set: $(help_$(variable)). Put it into $(ENV_FILE) (see .env.example), or on the command line as $(variable)=…' >&2;)) \
$(if $(platform),,missing=1; echo 'ARCHITECTURE=$(ARCHITECTURE) is neither x86_64 nor arm64' >&2;) \
[ -z "$$missing" ]
endef

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z_]+:.*## / {printf "  %-24s %s\n", $$1, $$2}' Makefile

##@ Development

.PHONY: create_environment
create_environment: ## Create or update the conda environment `hello-lambda`
	@command -v conda >/dev/null || { echo "conda is not installed. You can do without it: make requirements" >&2; exit 1; }
	conda env update --name hello-lambda --file environment.yml --prune
	@echo ">> now: conda activate hello-lambda"

.PHONY: requirements
requirements: ## Install what development needs, into the active environment or else .venv
	@[ -n "$(active_env)" ] || "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is missing or older than 3.11: name a newer one, for example make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	@[ -x $(run) ] || { echo ">> creating .venv"; "$(PYTHON)" -m venv .venv; }
	@cat requirements.txt requirements-dev.txt | cmp -s - "$(env)/.hello-lambda-requirements" || { \
	  echo ">> installing the requirements into $(env)"; \
	  $(run) -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt && \
	  cat requirements.txt requirements-dev.txt >"$(env)/.hello-lambda-requirements"; }

.PHONY: run_app
run_app: requirements ## Run the app on uvicorn, reloading on changes
	$(run) -m uvicorn app.app:app --reload --host 0.0.0.0 --port $(APP_PORT)

.PHONY: test
test: requirements ## Run the tests
	$(run) -m pytest

.PHONY: lint
lint: requirements ## Check format, types, Dockerfile and shell scripts
	$(run) -m ruff format --check
	$(run) -m ruff check
	$(run) -m mypy
	"$(env)/bin/hadolint" Dockerfile
	"$(env)/bin/shellcheck" .ci/run .ci/build_base_image

.PHONY: clean
clean: ## Delete what was made here: .venv, the emulator, caches
	rm -rf .venv .rie .pytest_cache .mypy_cache .ruff_cache
	find app examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

##@ Lambda on this machine

.PHONY: build_image
build_image: ## Build the container image
	$(call require,docker)
	@echo ">> building $(APP_NAME) for $(ARCHITECTURE)"
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform $(platform) --tag "$(APP_NAME)" .

.PHONY: run_container
run_container: build_image ## Build the image and run it on the Lambda emulator
	@$(call say_how_to_invoke)
	docker run --rm --name "$(LAMBDA_CONTAINER_NAME)" --platform $(platform) --publish 127.0.0.1:$(LAMBDA_PORT):8080 "$(APP_NAME)"

.PHONY: run_lambda
run_lambda: requirements $(rie) ## Run the same handler on the Lambda emulator, without a container
	@$(call say_how_to_invoke)
	$(rie) --runtime-interface-emulator-address 127.0.0.1:$(LAMBDA_PORT) --runtime-api-address 127.0.0.1:$$(($(LAMBDA_PORT) + 1)) $(run) -m awslambdaric app.app.handler

$(rie):
	@[ "$$(uname -s)" = Linux ] || { echo "the emulator runs on Linux only: use make run_container" >&2; exit 1; }
	@echo ">> fetching the Lambda Runtime Interface Emulator"
	rm -rf .rie && mkdir .rie
	$(run) -m pip download --quiet --disable-pip-version-check --no-deps --dest .rie $(rie_wheel)
	$(run) -m zipfile -e .rie/aws_sam_cli-*.whl .rie/wheel
	install -m 755 ".rie/wheel/samcli/local/rapid/aws-lambda-rie-$$(uname -m | sed s/aarch64/arm64/)" $(rie)
	rm -rf .rie/wheel .rie/aws_sam_cli-*.whl

define say_how_to_invoke
echo ">> answers on port $(LAMBDA_PORT), one request at a time; Ctrl-C stops it. In another terminal:"; \
echo "   curl http://localhost:$(LAMBDA_PORT)/2015-03-31/functions/function/invocations -d @tests/events/guide.json"
endef

##@ Lambda on AWS

.PHONY: create_ecr_repository
create_ecr_repository: ## Create the repository for the image
	$(call require,aws,AWS_ACCOUNT_ID AWS_REGION)
	@if $(aws) ecr describe-repositories --repository-names "$(APP_NAME)" >/dev/null 2>&1; then \
	  echo ">> the repository $(APP_NAME) exists already, and is left as it is"; \
	else set -x; \
	  $(aws) ecr create-repository --repository-name "$(APP_NAME)" --image-scanning-configuration scanOnPush=true \
	    --query repository.repositoryUri --output text; \
	fi

.PHONY: deploy_to_ecr
deploy_to_ecr: ## Build the image and push it, under its commit and as `latest`
	$(call require,aws docker,AWS_ACCOUNT_ID AWS_REGION)
	@$(MAKE) --no-print-directory build_image
	$(aws) ecr get-login-password | docker login --username AWS --password-stdin "$(ECR_REGISTRY)"
	@$(MAKE) --no-print-directory push_image version="$(image_version)"

# A target of its own so that the version, which may hold the time, is made once.
.PHONY: push_image
push_image:
	@if docker pull --quiet "$(image_uri):$(version)" 2>/dev/null; then \
	  echo ">> $(version) was pushed before, and is left as it is: commit a change to push another build"; \
	else set -ex; \
	  docker tag "$(APP_NAME)" "$(image_uri):$(version)"; \
	  docker push "$(image_uri):$(version)"; \
	fi
	docker tag "$(image_uri):$(version)" "$(image_uri):latest"
	docker push "$(image_uri):latest"

.PHONY: delete_ecr_repository
delete_ecr_repository: ## Delete the repository with every image in it
	$(call require,aws,AWS_ACCOUNT_ID AWS_REGION)
	$(aws) ecr delete-repository --repository-name "$(APP_NAME)" --force --query repository.repositoryUri --output text

.PHONY: create_lambda_function
create_lambda_function: ## Create the function from the pushed image and wait until it is active
	$(call require,aws,AWS_ACCOUNT_ID AWS_REGION AWS_LAMBDA_ROLE_ARN)
	@if $(aws) lambda get-function --function-name "$(APP_NAME)" >/dev/null 2>&1; then \
	  echo ">> the function $(APP_NAME) exists already, and is left as it is"; \
	else set -ex; \
	  digest=$$($(aws) ecr describe-images --repository-name "$(APP_NAME)" --image-ids imageTag="$(IMAGE_TAG)" \
	    --query "imageDetails[0].imageDigest" --output text); \
	  $(aws) lambda create-function --function-name "$(APP_NAME)" --package-type Image \
	    --code ImageUri="$(image_uri)@$$digest" --role "$(AWS_LAMBDA_ROLE_ARN)" --architectures $(ARCHITECTURE) \
	    --memory-size $(LAMBDA_MEMORY) --timeout $(LAMBDA_TIMEOUT) --query FunctionArn --output text; \
	fi
	$(aws) lambda wait function-active-v2 --function-name "$(APP_NAME)"

.PHONY: delete_lambda_function
delete_lambda_function: ## Delete the function
	$(call require,aws,AWS_ACCOUNT_ID AWS_REGION)
	$(aws) lambda delete-function --function-name "$(APP_NAME)"
