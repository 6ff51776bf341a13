# Targets for work on this repository: checks, measurements and the rehearsal. The programs that they install are below.

# The one package that `make lock` renews or adds.
PACKAGE ?=
# The new name for `make rename`.
NAME ?=
# How many events `make fuzz` makes up.
CASES ?= 100000
# How often `make bench` measures each variant.
BENCH_ROUNDS ?= 15
# How many requests the rehearsal sends, from 16 clients at once.
LOAD ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without its caches, Python compiles every module again in each process of the tests.
unexport PYTHONDONTWRITEBYTECODE

# tests/requirements has a lock for each environment below: .emulator, .tests and so on. Make installs one when a target needs
# it, and then makes this file in it, whose name changes with the lock.
environment = .$1/.installed-$(shell cat $2 tests/requirements/$1.lock | cksum | tr ' ' -)
emulator := $(call environment,emulator)
scanners := $(call environment,scanners)
aws_cli := $(call environment,aws-cli)
uv := $(call environment,uv)
# It has the packages of .venv, too.
all_tests := $(call environment,tests,requirements.lock tests/requirements/dev.lock)
.PHONY: .emulator .scanners .aws-cli .tests
.emulator: $(emulator)
.scanners: $(scanners)
.aws-cli: $(aws_cli)
.tests: $(all_tests)

##@ Work on this repository
.PHONY: rename run_lambda test_all lint format lock fuzz bench rehearse pictures clean

# ECR, Docker, Lambda, IAM and CloudFormation all accept such a name. CloudFormation would cut a longer role name.
rename: ## Rename the application in every file, for example to NAME=my-api
	@git rev-parse --is-inside-work-tree >/dev/null 2>&1 || { \
	  echo "make rename needs git, and a clone: run git init and git add --all first" >&2; exit 1; }
	@printf %s "$(NAME)" | grep -Eqx '[a-z][a-z0-9]*(-[a-z0-9]+)*' && printf %s "$(NAME)" | grep -Eqx '.{2,40}' || { \
	  echo "NAME=$(NAME): take 2 to 40 small letters, digits and single hyphens, with a letter first" >&2; exit 1; }
	@found=$$(git grep --untracked -I -e "$(NAME)" | grep -v "NAME=$(NAME)" | head -n 3); [ -z "$$found" ] || { \
	  printf '%s\n' "NAME=$(NAME) stands in these files already, for something else: take a longer name" "$$found" >&2; exit 1; }
	git grep --untracked -lzI -e $(APP_NAME) -- ':!LICENSE' | xargs -0 perl -pi -e 's/$(APP_NAME)/$(NAME)/g'

run_lambda: requirements .rie/aws-lambda-rie ## Run the handler on the Lambda emulator, without a container
	@aws/require LAMBDA_PORT:$(LAMBDA_PORT) LAMBDA_PORT:$$(($(LAMBDA_PORT) + 1))
	@echo ">> in another terminal, one request at a time: curl $(url) -d @examples/event.json"
	.rie/aws-lambda-rie --runtime-interface-emulator-address 127.0.0.1:$(LAMBDA_PORT) \
	  --runtime-api-address 127.0.0.1:$$(($(LAMBDA_PORT) + 1)) "$(env)/bin/python" -m awslambdaric app.app.handler || $(explain_crash)

# schemathesis gives its tests of all operations one id. With --dist=loadfile, one operation alone would be tested.
test_all: $(all_tests) $(emulator) ## Run every test, and say which were skipped and why
	.tests/bin/python -m pytest tests/unit tests/emulated/test_openapi.py
	.tests/bin/python -m pytest --dist=loadfile --no-loadscope-reorder --ignore=tests/emulated/test_openapi.py tests/faults tests/emulated

# Harper checks the grammar, and refuses the words in .harper. A user's own dictionaries must not change the result.
harper := .scanners/bin/harper lint --quiet --format compact --user-dict-path /dev/null --file-dict-path /dev/null \
  --weirpacks .scanners/harper.zip
# These rules do not fit: codespell checks the spelling. A heading is a sentence, and an item may begin with a small letter.
# A list of words has no comma before "and". MB and ms are units. AirPlay and cfripper are names.
ignored_rules := --ignore SpellCheck,UseTitleCase,SentenceCapitalization,OxfordComma \
  --ignore ExpandMemoryShorthands,ExpandTimeShorthands,OrthographicConsistency,SplitWords

lint: $(all_tests) $(scanners) ## Run every check: format, types, spelling, grammar, templates, scripts
	@failed=0; check() { echo "$$*"; "$$@" || failed=1; }; \
	check .tests/bin/ruff format --check; \
	check .tests/bin/ruff check; \
	check .tests/bin/mypy; \
	check .tests/bin/mypy --python-version $(subst public.ecr.aws/lambda/python:,,$(base_image)) app; \
	check .tests/bin/codespell; \
	check .scanners/bin/harper test .harper/PlainWords.weir; \
	check .tests/bin/python -m zipfile --create .scanners/harper.zip .harper/*; \
	for folder in . aws tests; do check $(harper) $(ignored_rules) $$folder/*.md; done; \
	check find app aws examples tests -name "*.py" -exec $(harper) --only PlainWords {} +; \
	check .tests/bin/cfn-lint --regions us-east-1 -- aws/*.yaml; \
	check .scanners/bin/checkov --directory aws --framework cloudformation --skip-download --quiet --compact; \
	check .scanners/bin/cfripper --logging ERROR --rules-filters-folder .cfripper aws/*.yaml; \
	check .tests/bin/hadolint Dockerfile; \
	check .tests/bin/shellcheck $$(grep -lsE '^#!.*sh$$' .ci/* aws/* tests/programs/*); \
	check .tests/bin/jactionlint --shellcheck .tests/bin/shellcheck; \
	exit $$failed

format: $(all_tests) ## Format the code, and fix what ruff can fix
	.tests/bin/ruff check --fix
	.tests/bin/ruff format

# A lock takes the versions of those before it. Python looks for certificates where pip does, and so must uv.
compile = UV_CUSTOM_COMPILE_COMMAND="make lock" .uv/bin/uv pip compile --quiet --system-certs --generate-hashes --universal \
  --python-version 3.11 $(if $(PACKAGE),--upgrade-package $(PACKAGE),--upgrade)
lock: $(uv) ## Renew every lock from its list of requirements, or PACKAGE=… alone
	$(compile) --only-binary :all: --output-file requirements.lock requirements.txt
	$(compile) --constraint requirements.lock --output-file tests/requirements/dev.lock requirements-dev.txt
	$(compile) --constraint requirements.lock --constraint tests/requirements/dev.lock \
	  --output-file tests/requirements/tests.lock tests/requirements/tests.txt
	for each in emulator scanners aws-cli uv; do \
	  $(compile) --output-file tests/requirements/$$each.lock tests/requirements/$$each.txt || exit; done
	$(compile) --constraint tests/requirements/dev.lock --output-file tests/requirements/bench.lock tests/requirements/bench.txt
	$(compile) --no-deps --output-file tests/requirements/rie.lock tests/requirements/rie.txt

fuzz: requirements ## Send the handler CASES random events, different ones each time
	@[ "$(CASES)" -gt 0 ] 2>/dev/null || { echo "CASES=$(CASES) is not a number of events: 100000, for example" >&2; exit 1; }
	CASES=$(CASES) "$(env)/bin/python" -m pytest --numprocesses=0 tests/unit/test_fuzz.py --hypothesis-show-statistics

# .bench is made anew: it holds what runs on Lambda and no more. Lambda's runtime client is apart, as in the image.
bench: requirements .rie/aws-lambda-rie ## Compare the handler with a minimal FastAPI app
	@! docker version >/dev/null 2>&1 || $(MAKE) --no-print-directory build_image
	"$(PYTHON)" -m venv --clear --without-pip .bench
	"$(env)/bin/python" -m pip --python .bench install --quiet --require-hashes --requirement requirements.lock
	"$(env)/bin/python" -m pip --python .bench install --quiet --require-hashes --target .bench/runtime \
	  --requirement tests/requirements/bench.lock
	.bench/bin/python tests/programs/bench.py $(BENCH_ROUNDS) $(LOCAL_IMAGE)

rehearse: requirements $(emulator) ## Deploy to an emulated AWS on this machine, try everything, destroy it
	@APP_PYTHON="$(env)/bin/python" exec .emulator/bin/python tests/programs/rehearse.py "$(LOAD)" $(deploy_steps)

pictures: $(all_tests) $(emulator) ## Draw the READMEs' pictures again
	.tests/bin/python tests/programs/pictures.py

clean: ## Delete what make made here: .venv, the Lambda emulator, caches
	rm -rf .venv .emulator .tests .rie .aws-cli .bench .uv .scanners .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find app aws examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stopped installation leaves an environment without pip, or without its own Python. It is made again.
working := -c 'import pip.__main__, sys; sys.exit(sys.prefix == sys.base_prefix and "$(env)" == ".venv")' 2>/dev/null
install = -m pip install --no-compile --require-hashes
$(subst $() ,\ ,$(installed)):
	@PYTHON="$(if $(filter .venv,$(env)),$(PYTHON),$(env)/bin/python)" aws/require python
	@"$(env)/bin/python" $(working) || [ "$(env)" = .venv ] || { \
	  echo "The environment $(env) has no pip: install it there, or deactivate the environment" >&2; exit 1; }
	@"$(env)/bin/python" $(working) || "$(PYTHON)" -m venv --clear .venv
	@echo ">> installing requirements.lock and tests/requirements/dev.lock into $(env): about 55 MB"
	"$(env)/bin/python" $(install) --requirement requirements.lock --requirement tests/requirements/dev.lock
	rm -f "$(env)"/.installed-* && touch "$(installed)"

$(emulator) $(scanners) $(aws_cli) $(uv): | requirements
	@echo ">> installing tests/requirements/$(@D:.%=%).lock into $(@D)"
	"$(env)/bin/python" -m venv --clear --without-pip $(@D)
	"$(env)/bin/python" -m pip --python $(@D) install --no-compile --require-hashes --requirement tests/requirements/$(@D:.%=%).lock
	touch $@

# The tests run make, and $(installed) tells make that nothing is to be installed.
$(all_tests): | requirements
	@echo ">> installing tests/requirements/tests.lock into .tests: about 85 packages, 300 MB"
	"$(env)/bin/python" -m venv --clear .tests
	.tests/bin/python $(install) --requirement requirements.lock --requirement tests/requirements/dev.lock --requirement tests/requirements/tests.lock
	touch $@ ".tests/$(notdir $(installed))"

# The Lambda emulator is a file in this wheel. `pip install` would bring 80 dependencies as well.
.rie/aws-lambda-rie: | requirements
	@[ "$$(uname -s)" = Linux ] || { echo "The emulator runs on Linux only. Run make run_container" >&2; exit 1; }
	"$(env)/bin/python" -m pip download --quiet --no-deps --require-hashes --dest .rie --requirement tests/requirements/rie.lock
	"$(env)/bin/python" -m zipfile -e .rie/aws_sam_cli-*.whl .rie
	install -m 755 .rie/samcli/local/rapid/aws-lambda-rie-$$(uname -m | sed s/aarch64/arm64/) $@
	rm -rf .rie/samcli .rie/aws_sam_cli*
