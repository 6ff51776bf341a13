# Builds, runs and deploys the container image. `make` alone lists the targets of the guide. Works with GNU Make 3.81 and newer.
# A setting comes from the command line, or else the environment, or else (an AWS_… setting) from ENV_FILE.

APP_NAME := hello-lambda
# Holds the AWS_… settings. Each step saves its results to it.
ENV_FILE ?= .env
APP_PORT ?= 5000
# Where `make run_api` listens.
API_PORT ?= 8000
# yes: `make run_api` runs the image, and reloads nothing.
IMAGE ?= no
# The Python that creates .venv and runs the steps of a deployment, 3.11 or newer.
PYTHON ?= python3
# The image and the container on this machine.
LOCAL_IMAGE ?= $(APP_NAME)
LAMBDA_CONTAINER_NAME ?= $(APP_NAME)
LAMBDA_PORT ?= 9000
# x86_64 or arm64, for the image and the function.
ARCHITECTURE ?= x86_64
# In MB. The share of a CPU grows with it.
LAMBDA_MEMORY ?= 512
# In seconds. API Gateway waits one second more.
LAMBDA_TIMEOUT ?= 28
# The tag that the function gets. `make images` lists them.
IMAGE_TAG ?= latest
ECR_REGISTRY ?= $(AWS_ACCOUNT_ID).dkr.ecr.$(AWS_REGION).$(ecr_domain)

# .env is read and not included: an include would override the shell's variables, expand every `$`, and hand the invoker's
# keys to the aws CLI. An empty or missing variable is read from .env. The last line counts, and a value that a shell
# could execute is refused.
hash := \#
from_env_file = $(shell sed -n 's/^[[:blank:]]*\(export[[:blank:]]\{1,\}\)*$1[[:blank:]]*=//p' "$(ENV_FILE)" 2>/dev/null | \
  tail -n 1 | sed -e "s|^[[:blank:]]*\([\"']*\)\([[:alnum:]_.:/=+@-]*\)\1\([[:space:]]\{1,\}$(hash).*\)*[[:space:]]*$$|\2|;t" -e 's/.*/(refused)/')
accept = $(if $(filter (refused),$2),$(error $1 in $(ENV_FILE) has characters that no such value has. Write NAME=value, see .env.example),$2)
setting = $(call accept,$1,$(call from_env_file,$1))
AWS_ACCOUNT_ID := $(or $(AWS_ACCOUNT_ID),$(call setting,AWS_ACCOUNT_ID))
AWS_REGION := $(or $(AWS_REGION),$(call setting,AWS_REGION))
AWS_PERMISSIONS_BOUNDARY := $(or $(AWS_PERMISSIONS_BOUNDARY),$(call setting,AWS_PERMISSIONS_BOUNDARY))
ifeq ($(AWS_LAMBDA_ROLE_ARN),)
AWS_LAMBDA_ROLE_ARN = $(call setting,AWS_LAMBDA_ROLE_ARN)
endif
ifeq ($(filter x86_64 arm64,$(ARCHITECTURE)),)
$(error ARCHITECTURE=$(ARCHITECTURE) is neither x86_64 nor arm64)
endif
export PYTHON ENV_FILE AWS_ACCOUNT_ID AWS_REGION AWS_LAMBDA_ROLE_ARN
# The aws CLI would stop a recipe in a pager.
export AWS_PAGER :=
# Without AWS_ACCESS_KEY_ID, the shell's AWS_SECRET_ACCESS_KEY is the invoker's. The aws CLI must not see it.
ifeq ($(AWS_ACCESS_KEY_ID),)
unexport AWS_ACCESS_KEY AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
endif
.NOTPARALLEL:
.PHONY: help help_all settings run_api run_app test create_environment requirements build_image run_container
help: ## Show the targets of the guide
	@awk -F ':.*## ' '/^##@/ {print newline substr($$0, 5); newline = "\n"} /^[a-z_]+:.*## / {printf "  %-24s %s\n", $$1, $$2}' $(help_files)

help_files = Makefile
help_all: help_files = $(MAKEFILE_LIST)
help_all: help ## Show every target

settings: ## Show the settings and their defaults. .env.example has the others
	@awk -F ' *[?]= *' '/^[A-Z_]+ [?]=/ {printf "%-34s %s\n", $$1 "=" $$2, note} {note = /^# / ? substr($$0, 3) : ""}' $(MAKEFILE_LIST)

##@ On this machine
# The active virtual or conda environment, but not conda's base. Without one, .venv.
env := $(or $(VIRTUAL_ENV),$(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX)),.venv)
# tests/tools.mk makes this file when the requirements are installed. Its name changes with them.
installed := $(env)/.installed-$(shell cat requirements.lock tests/requirements/dev.lock | cksum | tr ' ' -)

run_api: requirements .emulator ## Run the secured API on an emulated AWS account, and reload the app on changes
	@APP_PYTHON="$(env)/bin/python" exec .emulator/bin/python tests/programs/run_api.py "$(API_PORT)" "$(IMAGE)" $(deploy_steps)

run_app: requirements ## Run the app on uvicorn, and reload it on changes
	@aws/require APP_PORT:$(APP_PORT)
	"$(env)/bin/python" -m uvicorn app.app:app --reload --reload-dir app --host 127.0.0.1 --port $(APP_PORT) $(if $(NO_COLOR),--no-use-colors)

test: requirements ## Run the fast tests: they need neither Docker nor AWS
	"$(env)/bin/python" -m pytest

create_environment: ## Create or update the conda environment
	@aws/require conda
	conda env update --name $(APP_NAME) --file environment.yml --prune

requirements: $(subst $() ,\ ,$(installed)) ## Install the requirements into the active environment or .venv

##@ The image on this machine
base_image := public.ecr.aws/lambda/python:$(shell sed -n 's/^ARG PYTHON_VERSION=//p' Dockerfile)
platform := linux/$(if $(filter arm64,$(ARCHITECTURE)),arm64,amd64)
url := http://localhost:$(LAMBDA_PORT)/2015-03-31/functions/function/invocations
# Lambda's runtime interface on this machine exits with 2 when it crashes.
explain_crash = { case $$? in 2) echo "It crashed: it takes one request at a time. Run the target again" ;; \
  125) echo "If the name is in use, take another one: LAMBDA_CONTAINER_NAME=…" ;; esac >&2; false; }

build_image: ## Build the container image, on the newest base image
	docker pull --quiet --platform $(platform) $(base_image) || echo ">> the pull failed: building on the local base image"
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform $(platform) --tag $(LOCAL_IMAGE) .

run_container: build_image ## Run the image on this machine, as Lambda does
	@aws/require LAMBDA_PORT:$(LAMBDA_PORT)
	@echo ">> in another terminal, one request at a time: curl $(url) -d @examples/event.json"
	docker run --rm --name $(LAMBDA_CONTAINER_NAME) --platform $(platform) --publish 127.0.0.1:$(LAMBDA_PORT):8080 $(LOCAL_IMAGE) || $(explain_crash)

##@ Deploy to AWS: step by step
# In this order.
deploy_steps := create_ecr_repository deploy_to_ecr create_lambda_role create_lambda_function update_lambda_function \
  create_api create_invoker
.PHONY: check_account $(deploy_steps) invoke deploy status images logs destroy
# The tag of a push: the time and the commit, and -dirty where the image differs from the commit.
commit := $(or $(shell git rev-parse --short=12 HEAD 2>/dev/null),no-commit)
dirty := $(if $(shell git status --porcelain -- app Dockerfile .dockerignore requirements.lock 2>/dev/null),-dirty)
new_tag := $(shell date -u +%Y%m%dT%H%M%SZ)-$(commit)$(dirty)$(if $(filter arm64,$(ARCHITECTURE)),-arm64)
ecr_domain = amazonaws.com$(if $(filter cn-%,$(AWS_REGION)),.cn)
image = $(ECR_REGISTRY)/$(APP_NAME)
# A deployer's boundary allows the stage with the application's name only: IAM cannot name the API, whose id comes later.
stage = $(if $(AWS_PERMISSIONS_BOUNDARY),$(APP_NAME),default)
# Python alone, without anybody's packages: -S. They would run beside the deployer's credentials.
aws_python = "$(PYTHON)" -ESs
stack = $(aws_python) aws/stack.py aws cloudformation
# The function's name. Empty if it does not exist.
function = $$(aws lambda list-functions --query "Functions[?FunctionName=='$(APP_NAME)'].FunctionName" --output text)

deploy deploy_to_ecr: needs := docker
create_lambda_function update_lambda_function: needs := AWS_LAMBDA_ROLE_ARN
check_account: ; @aws/require aws python $(needs) AWS_ACCOUNT_ID AWS_REGION ENV_FILE

create_ecr_repository: check_account ## Create the repository for the image
	$(stack) deploy --stack-name $(APP_NAME)-repository --template-file aws/repository.yaml \
	  --no-fail-on-empty-changeset --parameter-overrides AppName=$(APP_NAME)

deploy_to_ecr: check_account build_image ## Push the image under its time and commit, and as `latest`
	aws ecr get-login-password | docker login --username AWS --password-stdin $(ECR_REGISTRY)
	docker tag $(LOCAL_IMAGE) $(image):$(new_tag)
	docker push $(image):$(new_tag)
	docker tag $(LOCAL_IMAGE) $(image):latest
	docker push $(image):latest

create_lambda_role: check_account ## Create the function's role and its log group
	$(stack) deploy --stack-name $(APP_NAME)-role --template-file aws/role.yaml \
	  --no-fail-on-empty-changeset --capabilities CAPABILITY_IAM --parameter-overrides AppName=$(APP_NAME) Boundary=$(AWS_PERMISSIONS_BOUNDARY)

create_lambda_function: check_account ## Create the function from the pushed image, unless it exists
	function=$(function) || exit; \
	  [ "$$function" ] || aws/retry_while_new aws lambda create-function --function-name $(APP_NAME) --role "$$AWS_LAMBDA_ROLE_ARN" --query FunctionArn \
	  --package-type Image --code ImageUri=$(image):$(IMAGE_TAG) --architectures $(ARCHITECTURE) --memory-size $(LAMBDA_MEMORY) --timeout $(LAMBDA_TIMEOUT)
	aws lambda wait function-active-v2 --function-name $(APP_NAME)

update_lambda_function: check_account ## Update the function's image (latest, or IMAGE_TAG=…), memory and timeout
	aws lambda wait function-updated-v2 --function-name $(APP_NAME)
	aws lambda update-function-code --function-name $(APP_NAME) --architectures $(ARCHITECTURE) --query CodeSha256 \
	  --image-uri $(image):$(IMAGE_TAG) && aws lambda wait function-updated-v2 --function-name $(APP_NAME)
	aws lambda update-function-configuration --function-name $(APP_NAME) --role "$$AWS_LAMBDA_ROLE_ARN" --memory-size $(LAMBDA_MEMORY) --timeout $(LAMBDA_TIMEOUT) --query State
	aws lambda wait function-updated-v2 --function-name $(APP_NAME)

# A change of the API takes effect with a deployment, as the console's Deploy API makes it. API Gateway takes one in 5 s,
# and the stack may just have made the first.
create_api: check_account ## Create the REST API, secured with IAM, and deploy its stage
	$(stack) deploy --stack-name $(APP_NAME)-api --template-file aws/api.yaml \
	  --no-fail-on-empty-changeset --parameter-overrides AppName=$(APP_NAME) StageName=$(stage) IntegrationTimeout=$$(($(LAMBDA_TIMEOUT) + 1))000
	api=$$(aws cloudformation describe-stacks --stack-name $(APP_NAME)-api --output text --query "Stacks[].Outputs[?ExportName].OutputValue") && \
	  AWS_MAX_ATTEMPTS=10 aws apigateway create-deployment --rest-api-id "$$api" --stage-name $(stage) --query id

create_invoker: check_account ## Create the policy to invoke the API, and a user with an access key
	$(stack) deploy --stack-name $(APP_NAME)-invoker --template-file aws/invoker.yaml \
	  --no-fail-on-empty-changeset --capabilities CAPABILITY_NAMED_IAM --parameter-overrides AppName=$(APP_NAME) StageName=$(stage) Boundary=$(AWS_PERMISSIONS_BOUNDARY)
	$(aws_python) aws/access_key.py create $(APP_NAME)-invoker

invoke: requirements ## Run the example: each route signed and unsigned
	"$(env)/bin/python" examples/invoke_secure_routes.py

##@ Deploy to AWS: as a whole
deploy: check_account requirements $(deploy_steps) ## Take every step above, and run the example
	aws/wait_for_api "$(env)/bin/python" examples/invoke_secure_routes.py
	@echo ">> deployed. $(ENV_FILE) has the address of the API. Next: make logs, or make destroy to delete all of it"

status: check_account ## Show the stacks and the function
	@aws cloudformation describe-stacks --output table --query "Stacks[?starts_with(StackName, '$(APP_NAME)-')] \
	  .{Stack: StackName, State: StackStatus, Holds: (Outputs[?!ExportName] | [0]).OutputValue}"
	@function=$(function) || exit; [ "$$function" ] || { echo ">> there is no function $(APP_NAME)"; exit; }; \
	  aws lambda get-function-configuration --function-name $(APP_NAME) --output table \
	  --query "{Function: FunctionName, State: State, LastUpdate: LastUpdateStatus}"

images: check_account ## List the pushed images with their findings, and mark the one that runs
	aws/list_images $(APP_NAME)

logs: check_account ## Follow the function's log
	aws logs tail /aws/lambda/$(APP_NAME) --follow --format short

# CloudFormation keeps an API whose id another stack imports. The API's permission goes before its function.
destroy_steps := delete_invoker delete_api delete_lambda_function delete_lambda_role delete_ecr_repository
destroy: confirm $(destroy_steps) ## Delete all of it. It asks first, unless CONFIRM=yes
	@echo ">> nothing is left"

include aws/destroy.mk aws/deployer.mk tests/tools.mk
