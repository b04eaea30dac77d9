package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/simulate"
)

// summary returns two paragraphs: what was simulated, and what came out.
func summary(r *simulate.Result) []string {
	t := &r.Totals
	return []string{
		strings.Join([]string{
			fmt.Sprintf("In %s of simulated time %s of %s made %s, at most %s at once.",
				duration(r.Duration), times(r.Mailboxes, "mailbox", "mailboxes"), r.Provider, times(t.Calls, "call", "calls"), count(r.Workers)),
			wrong(r.Faults),
			fmt.Sprintf("The %s decided what became of each call.", called(r.Policies)),
		}, " "),
		strings.Join(slices.DeleteFunc([]string{outcome(t), madeAnew(t), traffic(t), sends(t), delay(r)}, func(s string) bool { return s == "" }), " "),
	}
}

// called returns how a sentence refers to policies.
func called(policies string) string {
	if policies == "built-in" {
		return "built-in policies"
	}
	return "policies of " + policies
}

func wrong(faults []simulate.Fault) string {
	if len(faults) == 0 {
		return "Nothing went wrong with the server."
	}
	var parts []string
	for _, f := range faults {
		parts = append(parts, fmt.Sprintf("“%s” from %s to %s", f.Name, clock(f.From), clock(f.To)))
	}
	return "Something was wrong with the server: " + list(parts) + "."
}

func outcome(t *simulate.Totals) string {
	if t.Done == t.Calls {
		return "All calls were done in the end."
	}
	parts := []string{fmt.Sprintf("%s %s done", none(t.Done), were(t.Done))}
	if n := givenUp(t); n > 0 {
		var why []string
		for _, label := range labels(t.Failed) {
			why = append(why, count(t.Failed[label])+" as "+label)
		}
		parts = append(parts, fmt.Sprintf("%s %s given up (%s)", count(n), were(n), strings.Join(why, ", ")))
	}
	if n := t.Unfinished; n > 0 {
		parts = append(parts, fmt.Sprintf("%s had not ended when the simulation did", count(n)))
	}
	return "Of the calls " + list(parts) + "."
}

// madeAnew says how often calls were made anew; "" = never.
func madeAnew(t *simulate.Totals) string {
	if t.ComeBacks == 0 {
		return ""
	}
	return fmt.Sprintf("%s a call was given up for the time being and made anew later, as the scenario says.", times(t.ComeBacks, "time", "times"))
}

func traffic(t *simulate.Totals) string {
	said := fmt.Sprintf("The server was sent %s", times(t.Requests, "request", "requests"))
	if t.ExtraLoad > 0 {
		said += fmt.Sprintf(", %s more than one for each call", percent(t.ExtraLoad))
	}
	said += fmt.Sprintf("; it refused %s", none(t.Refusals))
	if t.Refreshes > 0 {
		said += ", expired access tokens aside"
	}
	if t.Unanswered > 0 {
		said += fmt.Sprintf(", and %s brought no answer", count(t.Unanswered))
	}
	said += "."
	if t.RefreshesFailed > 0 {
		said += fmt.Sprintf(" Of %s of an access token %s failed.", times(t.Refreshes, "refresh", "refreshes"), count(t.RefreshesFailed))
	}
	if t.EarlyReturns == 0 {
		return said + " No request was sent earlier than the server had asked for."
	}
	return said + fmt.Sprintf(" %s %s sent earlier than the server had asked for.", times(t.EarlyReturns, "request", "requests"), were(t.EarlyReturns))
}

func delay(r *simulate.Result) string {
	t := &r.Totals
	var said []string
	if len(r.Faults) > 0 {
		switch {
		case t.Drain == 0 && t.Unfinished == 0:
			said = append(said, "When the last fault ended no call was late.")
		case t.Drain == 0: // the fault lasted to the end
		case t.Unfinished > 0:
			said = append(said, fmt.Sprintf("It took at least %s from the end of the last fault until no call was late any more.", duration(t.Drain)))
		default:
			said = append(said, fmt.Sprintf("It took %s from the end of the last fault until no call was late any more.", duration(t.Drain)))
		}
	}
	if t.Done > 0 {
		said = append(said, fmt.Sprintf("Half of the calls that were done took at most %s, and 99 of 100 at most %s.", duration(t.Wait.P50), duration(t.Wait.P99)))
	}
	if t.Worst.Mailbox != "" {
		said = append(said, fmt.Sprintf("The longest of all took %s, in %s.", duration(t.Worst.Wait), t.Worst.Mailbox))
	}
	return strings.Join(said, " ")
}

func sends(t *simulate.Totals) string {
	if t.DuplicateSends == 0 && t.LostSends == 0 && t.AmbiguousSends == 0 {
		return "No call that may be carried out only once was carried out twice, or lost."
	}
	said := fmt.Sprintf("Of the calls that may be carried out only once %s %s carried out twice.", none(t.DuplicateSends), were(t.DuplicateSends))
	if t.AmbiguousSends > 0 {
		said += fmt.Sprintf(" %s ended as ambiguous: the worker cannot know whether the server carried them out, and has to look.", count(t.AmbiguousSends))
	}
	switch {
	case t.LostSends > 0 && t.AmbiguousSends > 0:
		said += fmt.Sprintf(" In truth the server never carried out %s of those that were given up.", count(t.LostSends))
	case t.LostSends > 0:
		said += fmt.Sprintf(" %s %s given up, and never carried out.", count(t.LostSends), were(t.LostSends))
	case t.AmbiguousSends > 0:
		said += " In truth the server carried out all of them."
	}
	return said
}

// none returns a count as a sentence has it: "none" for 0.
func none(n int) string {
	if n == 0 {
		return "none"
	}
	return count(n)
}

// changesSummary says in one sentence how the two sets of policies compare.
func changesSummary(c *simulate.Comparison) string {
	if c.Against == nil {
		return ""
	}
	n := names([]*simulate.Result{c.Result, c.Against})
	if len(c.Changes) == 0 {
		return fmt.Sprintf("The same calls, with the same faults, came out the same with %s as with %s.", n[0], n[1])
	}
	worse := 0
	for _, change := range c.Changes {
		if change.Worse {
			worse++
		}
	}
	are := "are"
	if worse < 2 {
		are = "is"
	}
	return fmt.Sprintf("The same calls, with the same faults, were played with %s and with %s. %s, and %s of them %s worse with %s than with %s:",
		n[0], n[1], times(len(c.Changes), "number differs", "numbers differ"), none(worse), are, n[0], n[1])
}
