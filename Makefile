# Builds, runs and deploys the container image. `make` alone lists the targets. Works with GNU Make 3.81 and newer.
# A setting comes from the command line, or else the environment, or else (an AWS_… setting) from ENV_FILE.

APP_NAME := hello-lambda
# Holds the AWS_… settings. Each step saves its results to it.
ENV_FILE ?= .env
APP_PORT ?= 5000
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

# .env is read and not included: an include would override the shell's variables, keep the quotes, expand
# every `$`, and hand the invoker's keys to the aws CLI. An empty or missing variable is read from .env.
from_env_file = $(shell sed -n "s/^ *\(export \)* *$1 *= *[\"']*\([[:alnum:]][^\"'[:space:]]*\).*/\2/p" \
  "$(ENV_FILE)" 2>/dev/null | tail -n 1)
AWS_ACCOUNT_ID := $(or $(AWS_ACCOUNT_ID),$(call from_env_file,AWS_ACCOUNT_ID))
AWS_REGION := $(or $(AWS_REGION),$(call from_env_file,AWS_REGION))
ifeq ($(AWS_LAMBDA_ROLE_ARN),)
AWS_LAMBDA_ROLE_ARN = $(call from_env_file,AWS_LAMBDA_ROLE_ARN)
endif
export ARCHITECTURE ENV_FILE AWS_ACCOUNT_ID AWS_REGION AWS_LAMBDA_ROLE_ARN
# Version 1 of the aws CLI reads AWS_DEFAULT_REGION. Version 2 would stop a recipe in a pager.
export AWS_DEFAULT_REGION := $(AWS_REGION)
export AWS_PAGER :=
# Without AWS_ACCESS_KEY_ID, the shell's AWS_SECRET_ACCESS_KEY is the invoker's. The aws CLI must not see it.
ifeq ($(AWS_ACCESS_KEY_ID),)
unexport AWS_ACCESS_KEY AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
endif
.NOTPARALLEL:
.PHONY: help create_environment requirements run_app test build_image run_container
help: ## Show this help
	@awk -F ' *(:.*## |[?]= *)' '/^##@/ {print "\n" substr($$0, 5)} \
	  /^[a-z_]+:.*## / {printf "  %-24s %s\n", $$1, $$2} \
	  /^[A-Z_]+ [?]=/ {settings = settings sprintf("  %-34s %s\n", $$1 "=" $$2, note)} \
	  {note = /^# / ? substr($$0, 3) : ""} \
	  END {printf "\nSettings and their defaults. .env.example lists the others\n%s", settings}' $(MAKEFILE_LIST)

##@ Development
# The active virtual or conda environment, but not conda's base. Without one, .venv.
env := $(or $(VIRTUAL_ENV),$(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX)),.venv)
# tests/tools.mk makes this file when the requirements are installed. Its name changes with them.
installed := $(env)/.installed-$(shell cat requirements.lock requirements-dev.txt | cksum | tr ' ' -)

create_environment: ## Create or update the conda environment
	@aws/require conda
	conda env update --name $(APP_NAME) --file environment.yml --prune

requirements: $(subst $() ,\ ,$(installed)) ## Install the requirements into the active environment or .venv

run_app: requirements ## Run the app on uvicorn, and reload it on changes
	"$(env)/bin/python" -m uvicorn app.app:app --reload --host 127.0.0.1 --port $(APP_PORT) $(if $(NO_COLOR),--no-use-colors)

test: requirements ## Run the fast tests: they need neither Docker nor AWS
	"$(env)/bin/python" -m pytest

##@ Lambda on this machine
base_image := public.ecr.aws/lambda/python:$(shell sed -n 's/^ARG PYTHON_VERSION=//p' Dockerfile)
platform := linux/$(if $(filter arm64,$(ARCHITECTURE)),arm64,amd64)
url := http://localhost:$(LAMBDA_PORT)/2015-03-31/functions/function/invocations
# Lambda's runtime interface on this machine exits with 2 when it crashes.
explain_crash = { [ $$? != 2 ] || echo "It crashed: it takes one request at a time. Run the target again" >&2; false; }

build_image: ## Build the container image, on the newest base image
	@aws/require docker ARCHITECTURE
	docker pull --quiet --platform $(platform) $(base_image) || echo ">> the pull failed: building on the local base image"
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform $(platform) --tag $(LOCAL_IMAGE) .

run_container: build_image ## Run the image on this machine, as Lambda does
	@aws/require LAMBDA_PORT:$(LAMBDA_PORT)
	@echo ">> in another terminal, one request at a time: curl $(url) -d @tests/events/guide.json"
	docker run --rm --name $(LAMBDA_CONTAINER_NAME) --platform $(platform) --publish 127.0.0.1:$(LAMBDA_PORT):8080 $(LOCAL_IMAGE) || $(explain_crash)

##@ Deploy to AWS: step by step
.PHONY: check_account create_ecr_repository deploy_to_ecr create_lambda_role create_lambda_function \
  update_lambda_function create_api create_invoker invoke deploy status images logs
# The tag of a push: the time and the commit, and -dirty where the image differs from the commit.
commit := $(or $(shell git rev-parse --short=12 HEAD 2>/dev/null),no-commit)
dirty := $(if $(shell git status --porcelain -- app Dockerfile .dockerignore requirements.lock 2>/dev/null),-dirty)
new_tag := $(shell date -u +%Y%m%dT%H%M%SZ)-$(commit)$(dirty)$(if $(filter arm64,$(ARCHITECTURE)),-arm64)
ecr_domain = amazonaws.com$(if $(filter cn-%,$(AWS_REGION)),.cn)
image = $(ECR_REGISTRY)/$(APP_NAME)

check_account: ; @aws/require aws docker account AWS_REGION ARCHITECTURE ENV_FILE

create_ecr_repository: ## Create the repository for the image
	@aws/require aws AWS_REGION
	aws/once_settled aws cloudformation deploy --stack-name $(APP_NAME)-repository --template-file aws/repository.yaml \
	  --parameter-overrides AppName=$(APP_NAME) --no-fail-on-empty-changeset

deploy_to_ecr: check_account build_image ## Push the image under its time and commit, and as `latest`
	aws ecr get-login-password | docker login --username AWS --password-stdin $(ECR_REGISTRY)
	docker tag $(LOCAL_IMAGE) $(image):$(new_tag)
	docker push $(image):$(new_tag)
	docker tag $(LOCAL_IMAGE) $(image):latest
	docker push $(image):latest

create_lambda_role: requirements ## Create the function's role and its log group
	@aws/require aws AWS_REGION ENV_FILE
	boundary=$(boundary) && aws/once_settled aws cloudformation deploy --stack-name $(APP_NAME)-role --template-file aws/role.yaml \
	  --parameter-overrides AppName=$(APP_NAME) Boundary=$$boundary --no-fail-on-empty-changeset --capabilities CAPABILITY_IAM
	arn=$(call output,role,RoleArn) && "$(env)/bin/python" aws/env_file.py AWS_LAMBDA_ROLE_ARN="$$arn"

create_lambda_function: ## Create the function from the pushed image, unless it exists
	@aws/require aws AWS_ACCOUNT_ID AWS_REGION AWS_LAMBDA_ROLE_ARN ARCHITECTURE
	function=$(function) || exit; \
	  [ -n "$$function" ] || aws/retry_new_role aws lambda create-function --function-name $(APP_NAME) --package-type Image \
	  --code ImageUri=$(image):$(IMAGE_TAG) --role "$$AWS_LAMBDA_ROLE_ARN" --architectures $(ARCHITECTURE) \
	  --memory-size $(LAMBDA_MEMORY) --timeout $(LAMBDA_TIMEOUT) --query FunctionArn
	aws lambda wait function-active-v2 --function-name $(APP_NAME)
	aws/tag_running_image $(APP_NAME)

update_lambda_function: ## Update the function's image (latest, or IMAGE_TAG=…), memory and timeout
	@aws/require aws AWS_ACCOUNT_ID AWS_REGION AWS_LAMBDA_ROLE_ARN ARCHITECTURE
	aws lambda wait function-updated-v2 --function-name $(APP_NAME)
	aws lambda update-function-code --function-name $(APP_NAME) --image-uri $(image):$(IMAGE_TAG) \
	  --architectures $(ARCHITECTURE) --query CodeSha256
	aws lambda wait function-updated-v2 --function-name $(APP_NAME)
	aws/retry_new_role aws lambda update-function-configuration --function-name $(APP_NAME) \
	  --role "$$AWS_LAMBDA_ROLE_ARN" --memory-size $(LAMBDA_MEMORY) --timeout $(LAMBDA_TIMEOUT) --query LastUpdateStatus
	aws lambda wait function-updated-v2 --function-name $(APP_NAME)
	aws/tag_running_image $(APP_NAME)

# A change of the API takes effect with a deployment, as the console's Deploy API makes it.
create_api: requirements ## Create the REST API, secured with IAM, and deploy its stage
	@aws/require aws AWS_REGION ENV_FILE
	aws/once_settled aws cloudformation deploy --stack-name $(APP_NAME)-api --template-file aws/api.yaml \
	  --parameter-overrides AppName=$(APP_NAME) IntegrationTimeout=$$(($(LAMBDA_TIMEOUT) + 1))000 --no-fail-on-empty-changeset
	api=$(call output,api,ApiId) && aws apigateway create-deployment --rest-api-id "$$api" --stage-name default --query id
	endpoint=$(call output,api,Endpoint) && "$(env)/bin/python" aws/env_file.py API_SECURE_ENDPOINT="$$endpoint"

create_invoker: requirements ## Create the policy to invoke the API, and a user with an access key
	@aws/require aws AWS_REGION ENV_FILE
	boundary=$(boundary) && aws/once_settled aws cloudformation deploy --stack-name $(APP_NAME)-invoker --template-file aws/invoker.yaml \
	  --parameter-overrides AppName=$(APP_NAME) Boundary=$$boundary --no-fail-on-empty-changeset --capabilities CAPABILITY_NAMED_IAM
	"$(env)/bin/python" aws/access_key.py create $(APP_NAME)-invoker

invoke: requirements ## Run the example: each route signed and unsigned
	"$(env)/bin/python" examples/invoke_secure_routes.py

##@ Deploy to AWS: as a whole
deploy: check_account requirements create_ecr_repository deploy_to_ecr create_lambda_role create_lambda_function update_lambda_function create_api create_invoker ## Take every step above, and run the example
	"$(env)/bin/python" examples/invoke_secure_routes.py --wait 90
	@echo ">> deployed to $(call from_env_file,API_SECURE_ENDPOINT). Next: make logs, or make destroy to delete all of it"

status: ## Show the stacks and the function
	@aws/require aws AWS_REGION
	stacks=$$(aws cloudformation describe-stacks --output text --query "Stacks[?starts_with(StackName, '$(APP_NAME)-')] \
	  .[StackName, StackStatus, Outputs[?OutputKey!='ApiId'].OutputValue | [0]]") && function=$(function) || exit; \
	  [ -z "$$function" ] || function=$$(aws lambda get-function-configuration --function-name $(APP_NAME) \
	  --output text --query "[FunctionName, State, LastUpdateStatus]") || exit; \
	  $(show_status)

images: ## List the pushed images with their findings, and mark the one that runs
	@aws/require aws AWS_REGION
	aws/list_images $(APP_NAME)

logs: ## Follow the function's log (version 1 of the aws CLI shows it once)
	@aws/require aws AWS_REGION
	PYTHONUNBUFFERED=1 aws logs $(if $(filter aws-cli/1.%,$(shell aws --version 2>&1)),filter-log-events \
	  --output text --query "events[].[message]" --log-group-name,tail --follow --format short) /aws/lambda/$(APP_NAME)

include aws/destroy.mk aws/deployer.mk tests/tools.mk
