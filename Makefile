# im_import/Makefile

MODULE_big = im_import
OBJS = \
	src/answer.o \
	src/app.o \
	src/appdata.o \
	src/ask.o \
	src/audit.o \
	src/batch.o \
	src/breaker.o \
	src/cmd_account.o \
	src/cmd_dialog.o \
	src/cmd_friend.o \
	src/cmd_group.o \
	src/cmd_member.o \
	src/cmd_message.o \
	src/cmd_unread.o \
	src/command.o \
	src/dispatch.o \
	src/doctor.o \
	src/drain.o \
	src/elements.o \
	src/encoding.o \
	src/errcodes.o \
	src/failpoint.o \
	src/flow.o \
	src/functions.o \
	src/glyph.o \
	src/guard.o \
	src/http.o \
	src/identity.o \
	src/im_import.o \
	src/import.o \
	src/json.o \
	src/limiter.o \
	src/names.o \
	src/operation.o \
	src/outbox.o \
	src/plan.o \
	src/problem.o \
	src/protocol.o \
	src/queue.o \
	src/record.o \
	src/reply.o \
	src/report.o \
	src/results.o \
	src/rooms.o \
	src/rules.o \
	src/sender.o \
	src/session.o \
	src/shared.o \
	src/sockets.o \
	src/state.o \
	src/statements.o \
	src/steer.o \
	src/tally.o \
	src/text.o \
	src/usersig.o \
	src/values.o \
	src/verdict.o \
	src/verify.o \
	src/watch.o \
	src/worker.o

EXTENSION = im_import
DATA = sql/im_import--1.0.sql
PGFILEDESC = "im_import - moves chat groups into Tencent Cloud IM"

# Where this file is: another folder, if the build is not in the tree.
here := $(dir $(firstword $(MAKEFILE_LIST)))
DOCS = README.md $(patsubst $(here)%,%,$(sort $(wildcard $(here)doc/*.md)))

# IM_SCHEMA=im in the environment: the regression scripts with the extension there.
REGRESS = setup encode limits kinds problems options usersig codes undo
REGRESS_OPTS = --inputdir=$(srcdir)/test --outputdir=.
ENCODING = UTF8
NO_LOCALE = 1
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
EXTRA_CLEAN = test/unit/build test/results test/tmp_check test/regression.out test/regression.diffs

PG_CPPFLAGS = $(shell curl-config --cflags 2>/dev/null)
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare
ifdef FAILPOINTS
# A build for test/t/*crash*: it stops where im_import.failpoint says.
# Lookups wait 2 seconds instead of 60 for late requests to die, those of messages 1
# instead of 5.
PG_CPPFLAGS += -DIM_FAILPOINTS -DIM_ZOMBIE_MS=2000 -DIM_READ_BACK_MS=1000
endif
SHLIB_LINK = -lcurl -lcrypto -lz

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# A folder of our own: other extensions have a README.md, too.
docmoduledir := extension/im_import

# A build in another folder needs a place for its objects.
$(shell mkdir -p src)

# PGXS does not follow includes: a changed header rebuilds everything.
$(OBJS) $(OBJS:.o=.bc): $(wildcard $(srcdir)/src/*.h)

# The distribution for PGXN: what is committed, in a folder that is named after it.
dist_name = $(shell sed -n 's/^   "name": "\(.*\)",/\1/p' '$(srcdir)/META.json')-$(shell sed -n 's/^   "version": "\(.*\)",/\1/p' '$(srcdir)/META.json')
.PHONY: dist
dist:
	git -C '$(srcdir)' archive --format=zip --prefix='$(dist_name)/' HEAD >'$(dist_name).zip'

# PGXS looks for the documents where they were, not where it put them.
uninstall: uninstall-docs
.PHONY: uninstall-docs
uninstall-docs:
ifdef docdir
	rm -rf '$(DESTDIR)$(docdir)/$(docmoduledir)'
endif
