# The deletes, the reverse of the steps in the Makefile. Each can be run again.

destroy_steps := delete_invoker delete_api delete_lambda_function delete_lambda_role delete_ecr_repository
.PHONY: destroy confirm $(destroy_steps)

# The stacks of this deployment that still exist.
stacks = $$(aws cloudformation describe-stacks --output text --query "Stacks[?contains([ \
  '$(APP_NAME)-invoker', '$(APP_NAME)-api', '$(APP_NAME)-role', '$(APP_NAME)-repository'], StackName)].StackName")

destroy: confirm $(destroy_steps) ## Delete all of it. It asks first, unless CONFIRM=yes
	@stacks=$(stacks) && function=$(function) || exit; \
	  [ -z "$$stacks$$function" ] || { echo "left over: $$stacks $$function" >&2; exit 1; }; echo ">> nothing is left"

confirm:
	@aws/require aws account AWS_REGION
	@[ "$(CONFIRM)" = yes ] || { \
	  printf 'Delete $(APP_NAME), its API, images, invoker and log, in $(AWS_REGION) of $(AWS_ACCOUNT_ID)? [y/N] '; \
	  read -r answer; [ "$$answer" = y ] || { echo "nothing was deleted" >&2; exit 1; }; }

delete_invoker: requirements ## Delete the user who may invoke the API, and the access key
	@aws/require aws AWS_REGION ENV_FILE
	user=$(call output,invoker,UserName) || exit; \
	  [ -z "$$user" ] || "$(env)/bin/python" aws/access_key.py delete "$$user"
	aws/once_settled aws cloudformation delete-stack --stack-name $(APP_NAME)-invoker

delete_api: requirements ## Delete the REST API
	@aws/require aws AWS_REGION ENV_FILE
	endpoint=$(call output,api,Endpoint) && \
	  "$(env)/bin/python" aws/env_file.py --forget API_SECURE_ENDPOINT="$$endpoint"
	aws/once_settled aws cloudformation delete-stack --stack-name $(APP_NAME)-api

delete_lambda_function: ## Delete the function
	@aws/require aws AWS_REGION
	@api=$(call output,api,ApiId) || exit; [ -z "$$api" ] || { \
	  echo "The API of this function still exists. Run make delete_invoker delete_api first" >&2; exit 1; }
	function=$(function) || exit; [ -z "$$function" ] || \
	  aws lambda delete-function --function-name $(APP_NAME)

delete_lambda_role: requirements ## Delete the function's role and its log group
	@aws/require aws AWS_REGION ENV_FILE
	arn=$(call output,role,RoleArn) && \
	  "$(env)/bin/python" aws/env_file.py --forget AWS_LAMBDA_ROLE_ARN="$$arn"
	aws/once_settled aws cloudformation delete-stack --stack-name $(APP_NAME)-role

delete_ecr_repository: ## Delete the repository with every image in it
	@aws/require aws AWS_REGION
	aws/once_settled aws cloudformation delete-stack --stack-name $(APP_NAME)-repository
