"""The checks of tests/tiers/system-bus.sh: ROOT is the throwaway machine that the service works on."""
import sys

import system_bus_attacks as attacks
import system_bus_cli as cli
import system_bus_published as published
import system_bus_rights as rights
import system_bus_robustness as robustness
import system_bus_sequences as sequences
import system_bus_support as support
import system_bus_table as table
from system_bus_support import check

check("an allowed user installs a package; the job's signals are its owner's alone, and the audit log names the user", sequences.allowed)
check("a plan that is not the one agreed to is not carried out, and a job cannot be changed once it is made", sequences.swapped)
check("a denied user changes nothing", rights.denied)
check("what a plan turns out to need is authorised before anything changes", rights.escalated)
check("without the call's permission nobody is asked, and without an agent nobody can be", rights.not_asked)
check("a question that is dismissed ends the job with AuthDismissed", rights.dismissed)
check("a consent is kept for a while where polkit says so, and only there", rights.consented)
check("cancelling while somebody is asked closes the dialog", rights.cancelled_while_asked)
check("an owner that leaves while somebody is asked ends its job and closes the dialog", rights.owner_leaves_while_asked)
check("each method answers each kind of caller as the table says", table.table)
check("each verb takes its own polkit action", rights.verbs)
check("options, targets, digests and locales that are not on the list are refused", attacks.injected)
check("malformed and huge messages are refused by a service that goes on", attacks.malformed)
check("descriptors are not touched before polkit says yes, and only regular files are packages", attacks.descriptors)
check("package scripts see nothing of the caller's or the service's", attacks.nothing_of_the_callers)
check("a flood of jobs by one user leaves another one served", attacks.flooded)
check("a job whose owner leaves ends before Start and goes on after it", sequences.owners_leave)
check("a job that its call started goes on without the caller, for the same user alone", sequences.detached)
check("progress is coalesced; questions are answered by the owner with their choices only", sequences.progress_and_questions)
check("a helper that dies fails its job with Internal", robustness.helper_dies)
check("a helper that is stuck in what it reads is ended, and the next one has its turn", robustness.stuck)
check("a job is cancelled before and while it runs", sequences.cancelled)
check("logind keeps the machine awake while packages are changed", sequences.inhibited)
check("a refresh is authorised and written down", sequences.refreshed)
check("after SIGTERM the commit that runs goes to its end and nothing new begins", robustness.terminated)
check("after SIGTERM what can be interrupted is cancelled, and nobody is asked any more", robustness.terminated_while_it_can_stop)
check("a service that is killed takes no commit with it", robustness.killed)
check("the service leaves when idle, not with a job, and no call is lost around it", robustness.idle)
check("a finished job stays for a minute, and a bounded number of them", sequences.lingers)
check("the published descriptions are those of the running service", published.goldens)
check("nobody else can have the name, and nothing else can be called", attacks.foreign_names)
check("the examples of dbus/README.md work", published.published_examples)
check("omg by an ordinary user installs, removes and takes back: its daemon plans, the service commits",
      cli.command_line)
sys.exit(support.failed)
