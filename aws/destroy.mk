# The look at the deployment, and the deletes, which reverse the steps in the Makefile. Each can be run again.

# The function's name, and an output of a stack. Both are empty for a thing that does not exist.
function = $$(aws lambda list-functions --query "Functions[?FunctionName=='$(APP_NAME)'].FunctionName" --output text)
output = $$(aws cloudformation describe-stacks --output text \
  --query "Stacks[?StackName=='$(APP_NAME)-$1'].Outputs[] | [?OutputKey=='$2'].OutputValue")
# A table of $$stacks and $$function, whose columns have tabs between them.
show_status = [ -n "$$stacks$$function" ] || { echo ">> nothing is deployed"; exit; }; \
  printf '%s\n' "STACK	STATE	HOLDS" "$$stacks" "$${function:+FUNCTION	STATE	LAST UPDATE}" "$$function" | sed '/^$$/d' | expand -t 27,45

destroy_steps := delete_invoker delete_api delete_lambda_function delete_lambda_role delete_ecr_repository
.PHONY: destroy confirm $(destroy_steps)

# The stacks of this deployment that still exist.
stacks = $$(aws cloudformation describe-stacks --output text --query "Stacks[?contains([ \
  '$(APP_NAME)-invoker', '$(APP_NAME)-api', '$(APP_NAME)-role', '$(APP_NAME)-repository'], StackName)].StackName")

# Stops a delete before it changes anything, while a stack exists that has to go first.
stop_while = @stacks=$(stacks) || exit; case "$$stacks" in *$(APP_NAME)-$1*) \
  echo "The stack $(APP_NAME)-$1 still exists. Run make $2 first" >&2; exit 1 ;; esac

# destroy keeps the order by itself. It starts the deletions side by side, and waits for all at its end. Only the
# invoker's stack has to be gone earlier: CloudFormation keeps an API whose id another stack imports.
destroy: stop_while =
destroy: later := WAIT_FOR_DELETION=no
destroy: confirm $(destroy_steps) ## Delete all of it. It asks first, unless CONFIRM=yes
	stacks=$(stacks) || exit; for stack in $$stacks; do \
	  aws/once_settled aws cloudformation delete-stack --stack-name "$$stack" || exit; done
	@function=$(function) || exit; [ -z "$$function" ] || { echo "left over: $$function" >&2; exit 1; }; echo ">> nothing is left"

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
	$(call stop_while,invoker,delete_invoker)
	endpoint=$(call output,api,Endpoint) && \
	  "$(env)/bin/python" aws/env_file.py --forget API_SECURE_ENDPOINT="$$endpoint"
	$(later) aws/once_settled aws cloudformation delete-stack --stack-name $(APP_NAME)-api

delete_lambda_function: ## Delete the function
	@aws/require aws AWS_REGION
	$(call stop_while,api,delete_invoker delete_api)
	function=$(function) || exit; [ -z "$$function" ] || \
	  aws lambda delete-function --function-name $(APP_NAME)

delete_lambda_role: requirements ## Delete the function's role and its log group
	@aws/require aws AWS_REGION ENV_FILE
	arn=$(call output,role,RoleArn) && \
	  "$(env)/bin/python" aws/env_file.py --forget AWS_LAMBDA_ROLE_ARN="$$arn"
	$(later) aws/once_settled aws cloudformation delete-stack --stack-name $(APP_NAME)-role

delete_ecr_repository: ## Delete the repository with every image in it
	@aws/require aws AWS_REGION
	$(later) aws/once_settled aws cloudformation delete-stack --stack-name $(APP_NAME)-repository
