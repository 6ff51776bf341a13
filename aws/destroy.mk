# Reverses the steps in the Makefile one by one. Each delete can be run again.

.PHONY: confirm $(destroy_steps)

no_stack = stack=$$(aws cloudformation describe-stacks --output text \
  --query "Stacks[?StackName=='$(APP_NAME)-$1'].StackName") || exit; [ -z "$$stack" ]
# Stops a delete before it changes anything, while a stack exists that has to go first.
stop_while = @$(call no_stack,$1) || { echo "The stack $(APP_NAME)-$1 still exists. Run make $2 first" >&2; exit 1; }

##@ Delete single steps
confirm: check_account
	@[ "$(CONFIRM)" = yes ] || { \
	  printf 'Delete $(APP_NAME), its API, images, invoker and log, in $(AWS_REGION) of $(AWS_ACCOUNT_ID)? [y/N] '; \
	  read -r answer; [ "$$answer" = y ] || { echo "nothing was deleted" >&2; exit 1; }; }

delete_invoker: check_account ## Delete the user who may invoke the API, and the access key
	$(call no_stack,invoker) || $(aws_python) aws/access_key.py delete $(APP_NAME)-invoker
	$(stack) delete-stack --stack-name $(APP_NAME)-invoker

delete_api: check_account ## Delete the REST API
	$(call stop_while,invoker,delete_invoker)
	$(stack) delete-stack --stack-name $(APP_NAME)-api

delete_lambda_function: check_account ## Delete the function
	$(call stop_while,api,delete_invoker delete_api)
	function=$(function) || exit; [ -z "$$function" ] || aws lambda delete-function --function-name $(APP_NAME)

delete_lambda_role: check_account ## Delete the function's role and its log group
	$(stack) delete-stack --stack-name $(APP_NAME)-role

delete_ecr_repository: check_account ## Delete the repository with every image in it
	$(stack) delete-stack --stack-name $(APP_NAME)-repository
