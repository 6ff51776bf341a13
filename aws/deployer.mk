# The rights to deploy, for a role that is no administrator, and the target that the deploy workflow runs with them.

# owner/name on GitHub, and its number: its deploy workflow gets a role. In a codespace the shell's variables of these
# names belong to a repository that may be somebody else's. So only an argument of make counts.
GITHUB_REPOSITORY :=
GITHUB_REPOSITORY_ID :=
# The GitHub environment that the workflow is started for.
GITHUB_ENVIRONMENT := production
.PHONY: create_deployer delete_deployer deploy_api

# The provider that this stack created, and the account's other identity provider for GitHub.
own_provider = $$(aws cloudformation describe-stacks --output text --query \
  "Stacks[?StackName=='$(APP_NAME)-deployer'].Outputs[] | [?OutputKey=='Provider'].OutputValue")
other_provider = $$(aws iam list-open-id-connect-providers --output text --query \
  "OpenIDConnectProviderList[?ends_with(Arn, '/token.actions.githubusercontent.com') && Arn!='$$own'].Arn")
ask_for_id = $(error Add GITHUB_REPOSITORY_ID=…, the "id" in https://api.github.com/repos/$(GITHUB_REPOSITORY))

##@ Deploy without being an administrator
create_deployer: check_account ## Create the policies to deploy with, as an administrator
	$(if $(GITHUB_REPOSITORY),$(if $(GITHUB_REPOSITORY_ID),,$(ask_for_id))own=$(own_provider) && provider=$(other_provider) || exit; )$(stack) deploy \
	  --stack-name $(APP_NAME)-deployer --template-file aws/deployer.yaml --capabilities CAPABILITY_NAMED_IAM --no-fail-on-empty-changeset \
	  --parameter-overrides AppName=$(APP_NAME) $(if $(GITHUB_REPOSITORY),GithubRepository="$(GITHUB_REPOSITORY)" \
	  GithubRepositoryId="$(GITHUB_REPOSITORY_ID)" GithubEnvironment="$(GITHUB_ENVIRONMENT)" GithubProvider=$$provider)
	@aws cloudformation describe-stacks --stack-name $(APP_NAME)-deployer --output text \
	  --query "Stacks[].Outputs[].[Description, OutputValue]"

delete_deployer: check_account ## Delete the deployer's policies, as an administrator
	@stacks=$$(aws cloudformation describe-stacks --output text --query "Stacks[?contains([ \
	  '$(APP_NAME)-invoker', '$(APP_NAME)-api', '$(APP_NAME)-role', '$(APP_NAME)-repository'], StackName)].StackName") || exit; \
	  [ -z "$$stacks" ] || { echo "These stacks need the deployer's permissions boundary: $$stacks. Run make destroy first" >&2; exit 1; }
	$(stack) delete-stack --stack-name $(APP_NAME)-deployer

# The workflow's role may not create a user.
deploy_api: needs := docker
deploy_api: check_account $(filter-out create_invoker,$(deploy_steps)) ## Take every step but create_invoker, as the deploy workflow does
