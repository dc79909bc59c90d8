# GNU make. `make help` lists what can be made.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
# The system bus reads policies, and polkitd actions, in /usr/share and not in /usr/local/share.
SYSTEM_DATADIR ?= $(patsubst /usr/local/share,/usr/share,$(PREFIX)/share)
# Where cargo puts its results.
TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)

BUILD_PACKAGES = g++ libc6-dev libapt-pkg-dev pkg-config
DEMO_PACKAGES = dbus libglib2.0-bin
TEST_PACKAGES = apt-utils bash binutils bzip2 dbus dbus-user-session debootstrap dpkg-dev fish gcc gpg gpg-agent iproute2 \
	libglib2.0-bin man-db npm=npm pip3=python3-pip polkitd python3 python3-dasbus python3-dbus-next systemd util-linux xz-utils zsh zstd

# Asked when a recipe runs, not before: `make deps` may just have installed the library.
features = $$(if pkg-config --exists apt-pkg 2>/dev/null; then echo '--features debian'; fi; \
	if pkg-config --atleast-version=16 libalpm 2>/dev/null; then echo '--features arch'; fi)

# For programs that are started for every line and every command. Statically linked, at a fixed address: loading and
# relocating shared libraries takes a quarter of the time that `omg search` takes in all, and relocating themselves, which
# copies every page that has an address in it, a twentieth. gcc's start files register the unwind tables of such programs,
# which newer ones of its libraries read through from end to end each time; they are found by their index (.eh_frame_hdr)
# without that, so the registration is made to call nothing.
unregistered = --wrap=__register_frame_info,--wrap=__deregister_frame_info
unregistered := $(unregistered),--defsym=__wrap___register_frame_info=0,--defsym=__wrap___deregister_frame_info=0
static_flags = -C target-feature=+crt-static -C relocation-model=static -C link-arg=-Wl,$(unregistered)

data_home = $(or $(XDG_DATA_HOME),$(HOME)/.local/share)
system_folders = DESTDIR='$(DESTDIR)' target='$(TARGET_DIR)/release' bindir='$(PREFIX)/bin' \
	libexecdir='$(PREFIX)/libexec' datadir='$(PREFIX)/share' mandir='$(PREFIX)/share/man' \
	unitdir='$(PREFIX)/lib/systemd/user' dbusdir='$(PREFIX)/share/dbus-1/services' \
	system_unitdir='$(PREFIX)/lib/systemd/system' system_datadir='$(SYSTEM_DATADIR)'
user_folders = DESTDIR='$(DESTDIR)' target='$(TARGET_DIR)/release' bindir='$(HOME)/.local/bin' \
	libexecdir='$(HOME)/.local/libexec' datadir='$(data_home)' mandir='$(data_home)/man' \
	unitdir='$(data_home)/systemd/user' dbusdir='$(data_home)/dbus-1/services'

.PHONY: build static-flags help deps test-deps demo test install install-user uninstall uninstall-user bench fuzz fmt lint man \
	completions

build: ## build the four programs into target/release
	@command -v $(CARGO) >/dev/null || { echo 'cargo is missing: install a Rust toolchain (https://rustup.rs)' >&2; exit 1; }
	$(CARGO) build --release --locked $(features) --bin omgd --bin omg-helper
	$(CARGO) rustc --release --locked $(features) --bin omg -- $(static_flags)
	$(CARGO) rustc --release --locked $(features) --bin omg-fast -- $(static_flags)

# For the tests, which build these programs elsewhere.
static-flags:
	@echo '$(static_flags)'

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-16s %s\n' "$$name" "$$text"; done

deps: ## install what the build and the demo need (Debian, Ubuntu)
	@packaging/apt-deps $(BUILD_PACKAGES) $(DEMO_PACKAGES)

test-deps: ## install what the tests need (Debian, Ubuntu)
	@packaging/apt-deps $(BUILD_PACKAGES) $(TEST_PACKAGES)

demo: deps ## build, then show the main job on this machine's packages, in a private session
	@$(MAKE) --no-print-directory build
	@packaging/demo.sh '$(TARGET_DIR)/release'

test: deps test-deps ## build, then run every test tier
	@$(MAKE) --no-print-directory build
	@tests/run

install: ## install what `make build` made (PREFIX, DESTDIR)
	@$(system_folders) packaging/install install
	@echo 'Installed under $(DESTDIR)$(PREFIX). Once, as root: systemctl daemon-reload; systemctl reload dbus'
	@echo 'Each user may now run:'
	@echo '  systemctl --user daemon-reload'
	@echo '  systemctl --user enable --now omgd.socket omg-status.path omg-status.timer'

install-user: build ## install under ~/.local, without root
	@$(user_folders) packaging/install install
	@echo 'Installed under $(DESTDIR)$(HOME)/.local. With a systemd user session, now run:'
	@echo '  systemctl --user daemon-reload'
	@echo '  systemctl --user enable --now omgd.socket omg-status.path omg-status.timer'

uninstall: ## remove what `make install` installed
	@$(system_folders) packaging/install uninstall

uninstall-user: ## remove what `make install-user` installed
	@$(user_folders) packaging/install uninstall

bench: deps ## measure against the budgets and the peers
	@$(MAKE) --no-print-directory build
	@tests/bench/run
	@tests/bench/runtimes.py || test $$? = 2
	@if [ "$$(id -u)" = 0 ] && command -v debootstrap >/dev/null; then tests/tiers/pacman-root.sh release && tests/bench/pacman.py; \
	else echo 'beside pacman: not measured (needs root and debootstrap)'; fi

fuzz: ## run every fuzz target for a minute
	@tests/fuzz/run

fmt: ## format the sources
	$(CARGO) fmt

lint: ## formatting, clippy and the import rules
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets $(features) -- -D warnings
	.ci/layers

man: build ## write the man pages to target/man
	@rm -rf '$(TARGET_DIR)/man'
	@mkdir -p '$(TARGET_DIR)/man'
	'$(TARGET_DIR)/release/omg' man --dir '$(TARGET_DIR)/man'
	cp packaging/man/*.1 '$(TARGET_DIR)/man'

completions: build ## write the shell completions to target/completions
	@mkdir -p '$(TARGET_DIR)/completions'
	@for shell in bash zsh fish; do \
		'$(TARGET_DIR)/release/omg' completions $$shell >'$(TARGET_DIR)/completions/'omg.$$shell || exit 1; \
	done
