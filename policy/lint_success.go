package policy

import "github.com/recourse-go/recourse/internal/yamlfile"

// Most successes have text that some user wrote, such as a message. So no word in the body of a
// success may decide anything: the facts of a success must come from places in the body that
// only the server fills.

// successes warns of rules and patterns that look for words in the bodies of successes.
func (c *compiler) successes() {
	if len(c.p.Inspect) == 0 {
		return
	}
	c.textOfSuccess()
	var statuses []int
	for i := range c.p.Inspect {
		if s := c.p.Inspect[i].Status; s != 0 {
			statuses = append(statuses, s)
		} else {
			statuses = append(statuses, 200, 201, 202, 203, 204, 206, 207)
		}
	}
	for i, v := range c.ruleOf {
		if v.File != c.top.src {
			continue
		}
		for _, status := range statuses {
			from, to, ok := c.p.Matcher.BodyWords(i, status)
			if !ok {
				continue
			}
			c.r.Warnf(v.ByName["when"].Within(from, to-from), "body-of-success", "extract a fact from where the server puts it, or add: status >= 400 and …",
				"rule %q looks for words in the body of a success (%d), where a stranger can write them", c.p.Rules[i].Name, status)
			break
		}
	}
}

// textOfSuccess warns of text patterns of a file that does not say where the message is. They
// can only search the whole body, which they may not do in a success.
func (c *compiler) textOfSuccess() {
	e := c.extract
	if e == nil || e.Bad {
		return
	}
	own := func(list []*yamlfile.Value, visit func(text *yamlfile.Value)) {
		for _, v := range good(list) {
			if text := v.Child("text"); v.File == c.top.src && text != nil && !text.Bad {
				visit(text)
			}
		}
	}
	says := false // whether the file says where the message is
	for _, v := range good(e.Items("message")) {
		says = says || v.File == c.top.src && v.Child("text") == nil
	}
	warn := func(text *yamlfile.Value) {
		c.r.Warnf(text.Span(), "text-of-success", "say under message where the server's own words stand, or name the field that holds this",
			"of a success that `inspect` covers, a text pattern does not see the body, only the message")
	}
	if says {
		return // then the patterns are for refusals without a message
	}
	for _, name := range []string{"message", "type", "codes", "retry_after"} {
		own(e.Items(name), warn)
	}
	if facts := e.Child("facts"); facts != nil {
		for _, name := range facts.Names {
			own(facts.ByName[name].List, warn)
		}
	}
}
