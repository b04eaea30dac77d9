package policy

// What somebody has written stands in most successes, so no word in one may decide
// anything: where a policy looks into them, its facts come from places in the
// body that only the server fills.

// successes warns of what looks for words in the bodies of successes.
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
		if v.src != c.top.src {
			continue
		}
		for _, status := range statuses {
			from, to, ok := c.p.Matcher.BodyWords(i, status)
			if !ok {
				continue
			}
			c.r.warn(v.get["when"].within(from, to-from), "body-of-success", "extract a fact from where the server puts it, or add: status >= 400 and …",
				"rule %q looks for words in the body of a success (%d), where a stranger can write them", c.p.Rules[i].Name, status)
			break
		}
	}
}

// textOfSuccess warns of patterns that can only ever see the body as a whole,
// since the file that has them does not say where a message stands.
func (c *compiler) textOfSuccess() {
	e := c.extract
	if e == nil || e.bad {
		return
	}
	own := func(list []*value, visit func(text *value)) {
		for _, v := range good(list) {
			if text := v.child("text"); v.src == c.top.src && text != nil && !text.bad {
				visit(text)
			}
		}
	}
	says := false // where a message stands
	for _, v := range good(e.items("message")) {
		says = says || v.src == c.top.src && v.child("text") == nil
	}
	warn := func(text *value) {
		c.r.warn(text.span(), "text-of-success", "say under message where the server's own words stand, or name the field that holds this",
			"of a success that `inspect` covers, a text pattern does not see the body, only the message")
	}
	if says {
		return // then a pattern is for refusals that have no such place
	}
	for _, name := range []string{"message", "type", "codes", "retry_after"} {
		own(e.items(name), warn)
	}
	if facts := e.child("facts"); facts != nil {
		for _, name := range facts.names {
			own(facts.get[name].list, warn)
		}
	}
}
