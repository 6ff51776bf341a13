# The rights to deploy, for a role that is no administrator. An administrator runs these two targets.

# owner/name on GitHub: its deploy workflow gets a role. In a codespace the shell's variable of this name is set to a
# repository that may be somebody else's. So only an argument of make counts.
GITHUB_REPOSITORY :=
# The GitHub environment that the workflow is started for.
GITHUB_ENVIRONMENT := production
.PHONY: create_deployer delete_deployer

# The permissions boundary of every role and user. Empty if there is no deployer.
boundary = $(call output,deployer,Boundary)

# The account's identity provider for GitHub, unless it is this stack's own.
other_provider = $$(aws iam list-open-id-connect-providers --output text --query \
  "OpenIDConnectProviderList[?ends_with(Arn, '/token.actions.githubusercontent.com') && Arn!='$$own'].Arn")

create_deployer: ## Create the policy to deploy with, as an administrator
	@aws/require aws AWS_REGION
	$(if $(GITHUB_REPOSITORY),own=$(call output,deployer,Provider) && provider=$(other_provider) || exit;) \
	  aws/once_settled aws cloudformation deploy --stack-name $(APP_NAME)-deployer --template-file aws/deployer.yaml \
	  --parameter-overrides AppName=$(APP_NAME) $(if $(GITHUB_REPOSITORY),GithubRepository="$(GITHUB_REPOSITORY)" \
	  GithubEnvironment="$(GITHUB_ENVIRONMENT)" GithubProvider=$$provider) \
	  --no-fail-on-empty-changeset --capabilities CAPABILITY_NAMED_IAM
	@aws cloudformation describe-stacks --stack-name $(APP_NAME)-deployer --output text \
	  --query "Stacks[].Outputs[].[Description, OutputValue]"

delete_deployer: ## Delete the deployer's policy, as an administrator
	@aws/require aws AWS_REGION
	@stacks=$(stacks) || exit; [ -z "$$stacks" ] || { \
	  echo "These stacks need the deployer's permissions boundary: $$stacks. Run make destroy first" >&2; exit 1; }
	aws/once_settled aws cloudformation delete-stack --stack-name $(APP_NAME)-deployer
