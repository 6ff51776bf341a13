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
  sed -n -e 's/^"\([^"]*\)".*/\1/' -e 's/^'"'"'\([^'"'"']*\)'"'"'.*/\1/' -e 's/^$(hash).*//' -e 's/[[:space:]]$(hash).*//' -e 's/[[:space:]]*$$//' -e '$$p')

APP_NAME              := hello-lambda
APP_PORT              ?= 5000
# The image and its container on this machine, and the port that the container answers on.
LOCAL_IMAGE           ?= $(APP_NAME)
LAMBDA_CONTAINER_NAME ?= $(APP_NAME)
LAMBDA_PORT           ?= 9000
# x86_64 or arm64: what the image is built for, and what the function runs on.
ARCHITECTURE          ?= x86_64
# In MB. CPU comes with it: with the share of 128, 256, 512 and 1024 MB the first answer took 7.7, 2.1, 0.9
# and 0.5 s in the container.
LAMBDA_MEMORY         ?= 512
# In seconds. API Gateway gives up at 29: whatever runs longer is paid for and thrown away.
LAMBDA_TIMEOUT        ?= 28

# What the shell does not set, or sets to nothing, $(ENV_FILE) does.
settings := AWS_ACCOUNT_ID AWS_REGION AWS_LAMBDA_ROLE_ARN
$(foreach name,$(settings),$(if $($(name)),,$(eval $(name) = $$(call env_value,$(name)))))
# China's registries have a domain of their own; set this one for another partition.
ECR_REGISTRY          ?= $(AWS_ACCOUNT_ID).dkr.ecr.$(AWS_REGION).amazonaws.com$(if $(filter cn-%,$(AWS_REGION)),.cn)
# Which pushed image the function gets.
IMAGE_TAG             ?= latest
# Where the rehearsal has its function; empty on AWS.
EMULATOR_URL          ?=
# How many requests the rehearsal sends, from 16 clients at once.
LOAD                  ?= 0
# How many events `make fuzz` makes up.
CASES                 ?= 100000
# What .venv and .bench are made with.
PYTHON                ?= python3
# How often `make bench` measures each variant.
BENCH_ROUNDS          ?= 15

# --endpoint-url, since CLIs before 2.13 ignore the variable, and would call the real AWS.
aws := aws --region "$(AWS_REGION)" $(if $(AWS_ENDPOINT_URL),--endpoint-url "$(AWS_ENDPOINT_URL)")
# CLI v2 would stop a recipe in a pager.
export AWS_PAGER :=
# The invoker's pair is for the example alone. The aws CLI reads AWS_SECRET_ACCESS_KEY too, so it gets
# that one only next to the deployer's own AWS_ACCESS_KEY_ID.
unexport AWS_ACCESS_KEY
mixed_keys := $(and $(AWS_ACCESS_KEY),$(AWS_ACCESS_KEY_ID),$(filter-out $(AWS_ACCESS_KEY),$(AWS_ACCESS_KEY_ID)))
ifeq ($(AWS_ACCESS_KEY_ID),)
unexport AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
endif

# What is pushed carries its commit; what no commit describes carries the time as well.
image_version = $(shell commit=$$(git rev-parse --short=12 HEAD 2>/dev/null) && \
  [ -z "$$(git status --porcelain -- app Dockerfile .dockerignore requirements.lock)" ] && echo "$$commit" || \
  echo "$${commit:-no-commit}-$$(date -u +%Y%m%dT%H%M%SZ)")$(if $(filter arm64,$(ARCHITECTURE)),-arm64)
image_uri = $(ECR_REGISTRY)/$(APP_NAME)
# Sets the shell's $$digest to that of the pushed image IMAGE_TAG; for a recipe under `set -e`.
find_digest = digest=$$($(aws) ecr describe-images --repository-name "$(APP_NAME)" --image-ids imageTag="$(IMAGE_TAG)" --query "imageDetails[0].imageDigest" --output text); \
  case "$$digest" in sha256:*) ;; *) echo "no pushed image has the tag $(IMAGE_TAG)" >&2; exit 1;; esac
# The name of what is there; nothing, and no error, where it is not.
found_api = $$($(aws) cloudformation describe-stacks --query "Stacks[?StackName=='$(APP_NAME)-api'].StackName" --output text)
found_function = $$($(aws) lambda list-functions --query "Functions[?FunctionName=='$(APP_NAME)'].FunctionName" --output text)

# What takes more than a recipe: stacks, the access key, and writing what was learned into $(ENV_FILE).
deployment = APP_NAME="$(APP_NAME)" ENV_FILE="$(ENV_FILE)" AWS_REGION="$(AWS_REGION)" "$(PYTHON)" aws/deployment.py
# Whoever has several accounts has used the wrong one.
check_account = account=$$($(aws) sts get-caller-identity --query Account --output text) || exit; \
  [ "$$account" = "$(AWS_ACCOUNT_ID)" ] || \
  { echo "the aws CLI is logged in to account $$account, and AWS_ACCOUNT_ID is $(AWS_ACCOUNT_ID): set AWS_PROFILE, or mend $(ENV_FILE)" >&2; exit 1; }
# `make deploy` takes these steps, one after the other.
deploy_steps := create_ecr_repository deploy_to_ecr create_lambda_role create_lambda_function update_lambda_function create_api create_invoker invoke_patiently
destroy_steps := delete_invoker delete_api delete_lambda_function delete_lambda_role delete_ecr_repository
# $(call take_steps,target,steps), behind a +: make sees no $(MAKE) in a call, and -n would stop at it.
define take_steps
for step in $2; do \
  echo ">> make $$step"; $(MAKE) --no-print-directory $$step || \
  { echo ">> make $$step failed, see above. Once that is mended, make $1 goes on from there" >&2; exit 1; }; \
done
endef
check_nothing_is_left = left=$$($(MAKE) --no-print-directory --silent status) || exit; \
  [ -z "$$left" ] || { echo "left over: $$left" >&2; exit 1; }; echo ">> nothing is left"
.NOTPARALLEL:

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
# For a rehearsal on a machine without an aws CLI.
aws_cli := awscli==1.46.3
# Look for what a template allows and need not. checkov alone sees a method open to all, or an image that nobody
# scans; cfripper alone sees a wildcard among allowed actions.
scanners := checkov==3.3.30 cfripper==1.22.1
# Makes requirements.lock, for every platform at once.
uv := uv==0.13.9

help_AWS_ACCOUNT_ID      := your account, 12 digits: aws sts get-caller-identity --query Account --output text
help_AWS_REGION          := where to deploy, for example eu-central-1
help_AWS_LAMBDA_ROLE_ARN := make create_lambda_role makes the role and writes its ARN. Or take a role of your own

python_is_new = "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))'
say_python_is_old = echo "$(PYTHON) is missing or older than 3.11: name a newer one, for example PYTHON=python3.13" >&2

# $(call require,tools,variables): names everything that is missing, and stops before anything is done.
define require
@missing=; \
for tool in $(filter-out python,$1); do command -v "$$tool" >/dev/null || { missing=1; echo "$$tool is not installed; README.md, \"Prerequisites\", says where to get it" >&2; }; done; \
$(if $(filter python,$1),$(python_is_new) 2>/dev/null || { missing=1; $(say_python_is_old); };) \
$(if $(filter docker,$1),! command -v docker >/dev/null || docker version >/dev/null 2>&1 || { missing=1; echo "no Docker engine answers: start Docker or see what \`docker version\` says" >&2; };) \
$(foreach variable,$2,$(if $(strip $($(variable))),,missing=1; echo '$(variable) is not set: $(help_$(variable)). Put it into the file '"$(ENV_FILE)"' (see .env.example), or on the command line as $(variable)=…' >&2;)) \
$(if $(mixed_keys),missing=1; echo "the shell has AWS_ACCESS_KEY and AWS_ACCESS_KEY_ID but one AWS_SECRET_ACCESS_KEY: unset AWS_ACCESS_KEY and set the secret of the deployer" >&2;) \
$(if $(platform),,missing=1; echo 'ARCHITECTURE=$(ARCHITECTURE) is neither x86_64 nor arm64' >&2;) \
[ -z "$$missing" ]
endef

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z_]+:.*## / {printf "  %-24s %s\n", $$1, $$2}' Makefile

##@ Development

.PHONY: create_environment
create_environment: ## Create or update the conda environment
	@command -v conda >/dev/null || { echo "conda is not installed. You can do without it: make requirements" >&2; exit 1; }
	conda env update --name "$(APP_NAME)" --file environment.yml --prune
	@echo ">> now: conda activate $(APP_NAME)"

.PHONY: requirements
requirements: ## Install what development needs, into the active environment or .venv
	@[ -n "$(active_env)" ] || $(python_is_new) || { $(say_python_is_old); exit 1; }
	@[ -x $(run) ] || [ -z "$(active_env)" ] || { echo "the active environment, $(env), has no Python: install one into it, or deactivate it" >&2; exit 1; }
	@[ -x $(run) ] || { echo ">> creating .venv"; "$(PYTHON)" -m venv --clear .venv || { rm -rf .venv; exit 1; }; }
	@cat requirements.lock requirements-dev.txt | cmp -s - "$(env)/.hello-lambda-requirements" || { \
	  echo ">> installing the requirements into $(env)"; \
	  $(run) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock && \
	  $(run) -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt && \
	  cat requirements.lock requirements-dev.txt >"$(env)/.hello-lambda-requirements"; }

.PHONY: lock
lock: .uv/bin/uv ## Renew requirements.lock: what requirements.txt needs, whole, with hashes
	UV_CUSTOM_COMPILE_COMMAND="make lock" .uv/bin/uv pip compile --quiet --upgrade --generate-hashes \
	  --universal --python-version 3.11 --only-binary :all: --output-file requirements.lock requirements.txt

# In an environment of its own, since only the lock needs its 50 MB.
.uv/bin/uv:
	"$(PYTHON)" -m venv --clear .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check $(uv)

.PHONY: run_app
run_app: requirements ## Run the app on uvicorn, reloading on changes
	$(run) -m uvicorn app.app:app --reload --host 0.0.0.0 --port $(APP_PORT)

.PHONY: test
test: requirements ## Run the tests
	$(run) -m pytest

# The environment is made anew: it holds what runs on Lambda and no more, Lambda's runtime client apart, as in the image.
.PHONY: bench
bench: requirements $(rie) ## Measure the handler against the least that there could be
	@! docker version >/dev/null 2>&1 || $(MAKE) --no-print-directory build_image
	"$(PYTHON)" -m venv --clear --without-pip .bench
	$(run) -m pip --python .bench install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(run) -m pip --python .bench install --quiet --disable-pip-version-check --target .bench/runtime "$$(sed -n 's/^\(awslambdaric==[^;]*\);.*/\1/p' requirements-dev.txt)"
	PYTHONPATH=tests/rehearse .bench/bin/python tests/bench/run.py "$(BENCH_ROUNDS)" "$(LOCAL_IMAGE)"

.PHONY: fuzz
fuzz: requirements ## Send the handler CASES events that nobody thought of, others each time
	@[ "$(CASES)" -gt 0 ] 2>/dev/null || { echo "CASES=$(CASES) is not a number of events: 100000, for example" >&2; exit 1; }
	CASES="$(CASES)" $(run) -m pytest tests/test_fuzz.py --hypothesis-show-statistics

.PHONY: lint
lint: requirements .scanners/bin/checkov ## Check format, types, templates, Dockerfile, scripts and workflows
	$(run) -m ruff format --check
	$(run) -m ruff check
	$(run) -m mypy
	"$(env)/bin/cfn-lint" aws/*.yaml
	.scanners/bin/checkov --directory aws --framework cloudformation --skip-download --quiet --compact
	.scanners/bin/cfripper --logging ERROR aws/*.yaml
	"$(env)/bin/hadolint" Dockerfile
	"$(env)/bin/shellcheck" .ci/run .ci/build_base_image
	"$(env)/bin/jactionlint" --shellcheck "$(env)/bin/shellcheck"

# In an environment of their own: they are at odds with what .venv has.
.scanners/bin/checkov:
	"$(PYTHON)" -m venv --clear .scanners
	.scanners/bin/python -m pip install --quiet --disable-pip-version-check $(scanners)

.PHONY: clean
clean: ## Delete what was made here: .venv, the emulator, caches
	rm -rf .venv .rie .aws-cli .bench .uv .scanners .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find app aws examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

##@ Lambda on this machine

.PHONY: build_image
build_image: ## Build the container image
	$(call require,docker)
	@echo ">> building $(APP_NAME) for $(ARCHITECTURE)"
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform $(platform) --tag "$(LOCAL_IMAGE)" .

.PHONY: run_container
run_container: build_image ## Build the image and run it on the Lambda emulator
	@$(call say_how_to_invoke)
	docker run --rm --name "$(LAMBDA_CONTAINER_NAME)" --platform $(platform) --publish 127.0.0.1:$(LAMBDA_PORT):8080 "$(LOCAL_IMAGE)"

.PHONY: run_lambda
run_lambda: requirements $(rie) ## Run the same handler on the Lambda emulator, without a container
	@$(call say_how_to_invoke)
	$(rie) --runtime-interface-emulator-address 127.0.0.1:$(LAMBDA_PORT) --runtime-api-address 127.0.0.1:$$(($(LAMBDA_PORT) + 1)) $(run) -m awslambdaric app.app.handler

$(rie): | requirements
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

##@ Deploy to AWS: step by step

.PHONY: create_ecr_repository
create_ecr_repository: ## Create the repository for the image
	$(call require,aws python,AWS_REGION)
	$(deployment) deploy_stack repository

.PHONY: deploy_to_ecr
deploy_to_ecr: ## Build the image and push it, under its commit and as `latest`
	$(call require,aws docker,AWS_ACCOUNT_ID AWS_REGION)
	@$(MAKE) --no-print-directory build_image
	@echo '$(aws) ecr get-login-password | docker login --username AWS --password-stdin "$(ECR_REGISTRY)"'
	@password=$$($(aws) ecr get-login-password) || exit; \
	printf '%s' "$$password" | docker login --username AWS --password-stdin "$(ECR_REGISTRY)"
	@$(MAKE) --no-print-directory push_image version="$(image_version)"

# A target of its own so that the version, which may hold the time, is made once.
.PHONY: push_image
push_image:
	@if docker pull --quiet "$(image_uri):$(version)" 2>/dev/null; then \
	  echo ">> $(version) was pushed before, and is left as it is: commit a change to push another build"; \
	else set -ex; \
	  docker tag "$(LOCAL_IMAGE)" "$(image_uri):$(version)"; \
	  docker push "$(image_uri):$(version)"; \
	fi
	docker tag "$(image_uri):$(version)" "$(image_uri):latest"
	docker push "$(image_uri):latest"

.PHONY: create_lambda_role
create_lambda_role: ## Create the role that the function runs as, and its log group
	$(call require,aws python,AWS_REGION)
	$(deployment) deploy_stack role --save AWS_LAMBDA_ROLE_ARN=RoleArn

.PHONY: create_lambda_function
create_lambda_function: ## Create the function from the pushed image and wait until it is active
	$(call require,aws python,AWS_ACCOUNT_ID AWS_REGION AWS_LAMBDA_ROLE_ARN)
	@set -e; found=$(found_function); \
	if [ -n "$$found" ]; then echo ">> the function $(APP_NAME) exists already, and is left as it is"; \
	else $(find_digest); \
	  $(deployment) run_patiently lambda create-function --function-name "$(APP_NAME)" --package-type Image \
	    --code ImageUri="$(image_uri)@$$digest" --role "$(AWS_LAMBDA_ROLE_ARN)" --architectures $(ARCHITECTURE) \
	    --memory-size $(LAMBDA_MEMORY) --timeout $(LAMBDA_TIMEOUT) --query FunctionArn --output text; \
	fi
	$(aws) lambda wait function-active-v2 --function-name "$(APP_NAME)"

.PHONY: update_lambda_function
update_lambda_function: ## Give the function the last image, or IMAGE_TAG=… of an earlier one
	$(call require,aws python,AWS_ACCOUNT_ID AWS_REGION AWS_LAMBDA_ROLE_ARN)
	$(aws) lambda wait function-updated-v2 --function-name "$(APP_NAME)"
	@set -e; $(find_digest); \
	running=$$($(aws) lambda get-function --function-name "$(APP_NAME)" --query Code.ImageUri --output text); \
	if [ "$$running" = "$(image_uri)@$$digest" ]; then echo ">> the function $(APP_NAME) has this image already"; \
	else set -x; \
	  $(aws) lambda update-function-code --function-name "$(APP_NAME)" --image-uri "$(image_uri)@$$digest" \
	    --architectures $(ARCHITECTURE) --query CodeSha256 --output text; \
	  $(aws) lambda wait function-updated-v2 --function-name "$(APP_NAME)"; \
	fi
	@set -e; settings=$$($(aws) lambda get-function-configuration --function-name "$(APP_NAME)" --query "join(' ', [to_string(MemorySize), to_string(Timeout), Role])" --output text); \
	if [ "$$settings" != "$(LAMBDA_MEMORY) $(LAMBDA_TIMEOUT) $(AWS_LAMBDA_ROLE_ARN)" ]; then \
	  $(deployment) run_patiently lambda update-function-configuration --function-name "$(APP_NAME)" \
	    --memory-size $(LAMBDA_MEMORY) --timeout $(LAMBDA_TIMEOUT) --role "$(AWS_LAMBDA_ROLE_ARN)" --query LastUpdateStatus --output text; \
	  $(aws) lambda wait function-updated-v2 --function-name "$(APP_NAME)"; \
	fi

.PHONY: create_api
create_api: ## Create the REST API, secured with IAM, and deploy its stage
	$(call require,aws python,AWS_REGION)
	$(deployment) deploy_stack api EmulatorUrl="$(EMULATOR_URL)" --save API_SECURE_ENDPOINT=Endpoint

.PHONY: create_invoker
create_invoker: ## Create the user who may invoke the API, and the access key
	$(call require,aws python,AWS_REGION)
	$(deployment) deploy_stack invoker
	$(deployment) create_access_key "$(APP_NAME)-invoker"

.PHONY: invoke
invoke: requirements ## Run the example: each route signed and unsigned
	ENV_FILE="$(ENV_FILE)" $(run) examples/invoke_secure_routes.py

##@ Deploy to AWS: as a whole

.PHONY: deploy
deploy: create_ecr_repository deploy_to_ecr create_lambda_role create_lambda_function update_lambda_function create_api create_invoker ## Take every step above, and run the example
	@$(MAKE) --no-print-directory invoke_patiently

# What was just created needs up to a minute until every part of AWS knows it.
.PHONY: invoke_patiently
invoke_patiently:
	@for pause in 5 10 20 30; do $(MAKE) --no-print-directory invoke && exit; \
	  echo ">> If that is because IAM or API Gateway does not know yet what is new: once more in $$pause s"; sleep $$pause; done; \
	$(MAKE) --no-print-directory invoke

.PHONY: status
status: ## Show what exists
	$(call require,aws,AWS_REGION)
	$(aws) cloudformation describe-stacks --output text --query \
	  "Stacks[?contains(['$(APP_NAME)-repository', '$(APP_NAME)-role', '$(APP_NAME)-api', '$(APP_NAME)-invoker'], StackName)].[StackName, StackStatus, Outputs[?OutputKey!='ApiId'].OutputValue | [0]]"
	@set -e; found=$(found_function); [ -z "$$found" ] || { set -x; \
	$(aws) lambda get-function --function-name "$(APP_NAME)" --output text --query \
	  "Configuration.[FunctionName, State, LastUpdateStatus, CodeSha256]"; }

# Unbuffered, for else `make logs | grep …` would show nothing until 8 KB have come; AWS's own installer brings a CLI that
# does not heed it.
.PHONY: logs
logs: ## Follow the function's log (AWS CLI v1 shows it once)
	$(call require,aws,AWS_REGION)
	@case "$$(aws --version 2>&1)" in \
	  aws-cli/1.*) set -x; $(aws) logs filter-log-events --log-group-name "/aws/lambda/$(APP_NAME)" --query "events[].[message]" --output text;; \
	  *) set -x; PYTHONUNBUFFERED=1 $(aws) logs tail "/aws/lambda/$(APP_NAME)" --follow --format short;; \
	esac

.PHONY: destroy
destroy: ## Delete all of it; asks first, unless CONFIRM=yes
	$(call require,aws python,AWS_ACCOUNT_ID AWS_REGION)
	@$(check_account)
	@[ "$(CONFIRM)" = yes ] || { printf 'Delete $(APP_NAME) in $(AWS_REGION) of $(AWS_ACCOUNT_ID), with its images, API, invoker and log? [y/N] '; \
	  read -r answer; [ "$$answer" = y ] || { echo "nothing was deleted" >&2; exit 1; }; }
	+@$(call take_steps,destroy,$(destroy_steps))
	@$(check_nothing_is_left)

.PHONY: delete_invoker
delete_invoker: ## Delete the user who may invoke the API, with the access key
	$(call require,aws python,AWS_REGION)
	$(deployment) delete_stack invoker

.PHONY: delete_api
delete_api: ## Delete the REST API
	$(call require,aws python,AWS_REGION)
	$(deployment) delete_stack api --forget API_SECURE_ENDPOINT=Endpoint

.PHONY: delete_lambda_function
delete_lambda_function: ## Delete the function
	$(call require,aws,AWS_REGION)
	@set -e; api=$(found_api); found=$(found_function); \
	if [ -z "$$found" ]; then echo ">> there is no function $(APP_NAME)"; \
	elif [ -n "$$api" ]; then \
	  echo "the API may invoke this function, and would not know a new one: make delete_invoker delete_api first" >&2; exit 1; \
	else set -x; $(aws) lambda delete-function --function-name "$(APP_NAME)" >/dev/null; fi

.PHONY: delete_lambda_role
delete_lambda_role: ## Delete the function's role and its log group
	$(call require,aws python,AWS_REGION)
	$(deployment) delete_stack role --forget AWS_LAMBDA_ROLE_ARN=RoleArn

.PHONY: delete_ecr_repository
delete_ecr_repository: ## Delete the repository with every image in it
	$(call require,aws python,AWS_REGION)
	$(deployment) delete_stack repository

##@ Rehearse, with no AWS account

.PHONY: rehearse
rehearse: requirements ## Deploy to an emulated AWS on this machine, try everything, and destroy it
	@"$(env)/bin/python" tests/rehearse/rehearse.py "$(LOAD)"

# Never in front of the user's own: the rehearsal puts it behind everything in PATH.
.aws-cli/bin/aws:
	"$(PYTHON)" -m venv --clear .aws-cli
	.aws-cli/bin/python -m pip install --quiet --disable-pip-version-check $(aws_cli)
