package corpus

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// TestEWSResponseCodes holds the policy ews to what each response code of Exchange
// Web Services means (policy/provider/testdata/ews_response_codes.tsv), where it
// stands in a response message and where it stands in a SOAP fault.
func TestEWSResponseCodes(t *testing.T) {
	d, err := NewDecider(policy.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	const (
		message = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><m:R xmlns:m="m"><m:ResponseMessages><m:RM ResponseClass="Error"><m:MessageText>x</m:MessageText><m:ResponseCode>%s</m:ResponseCode></m:RM></m:ResponseMessages></m:R></s:Body></s:Envelope>`
		fault   = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode xmlns:a="t">a:%[1]s</faultcode><faultstring>x</faultstring><detail><e:ResponseCode xmlns:e="e">%[1]s</e:ResponseCode><e:Message xmlns:e="e">x</e:Message></detail></s:Fault></s:Body></s:Envelope>`
	)
	for code, class := range tableOf(t, "ews_response_codes.tsv", 400) {
		for status, form := range map[int]string{200: message, 500: fault} {
			if class == "success" && status == 500 {
				continue
			}
			a, err := d.Decide(&Case{
				Provider: "ews", Operation: "GetItem", Method: "POST", Status: status, Attempt: 1,
				Headers: map[string][]string{"Content-Type": {"text/xml"}}, Body: []byte(fmt.Sprintf(form, code)),
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := classOf(&a); got != class {
				t.Errorf("given %s with status %d\ngot  %s (rule %s)\nwant %s", code, status, got, a.Rule, class)
			}
		}
	}
}

// TestEASStatus holds the policy eas to what each status of each command means
// (policy/provider/testdata/eas_status.tsv).
func TestEASStatus(t *testing.T) {
	d, err := NewDecider(policy.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for key, class := range tableOf(t, "eas_status.tsv", 150) {
		path, status, _ := strings.Cut(key, " ")
		elements := strings.Split(path, "/")
		body := "<Status>" + status + "</Status>"
		for _, name := range slices.Backward(elements[1:]) {
			body = "<" + name + ">" + body + "</" + name + ">"
		}
		command := elements[0]
		if len(elements) > 1 && !slices.Contains([]string{"MoveItems", "MeetingResponse", "GetItemEstimate", "Sync"}, command) {
			body = "<Status>1</Status>" + body // the command itself was understood
		}
		a, err := d.Decide(&Case{Provider: "eas", Operation: command, Method: "POST", Status: 200, Attempt: 1, Body: []byte("<" + command + ">" + body + "</" + command + ">")})
		if err != nil {
			t.Fatal(err)
		}
		if got := classOf(&a); got != class {
			t.Errorf("given %s\ngot  %s (rule %s)\nwant %s", key, got, a.Rule, class)
		}
	}
}

// classOf names an answer as the tables of codes do.
func classOf(a *Answer) string {
	switch {
	case a.Action == "accept":
		return "success"
	case a.Action == "fail":
		return a.As
	case slices.Contains(a.Hold, "sending"):
		return "sending"
	case len(a.Hold) > 0:
		return "throttled"
	}
	return "passing"
}

// tableOf reads a table of what codes mean: two columns, with a tab between them.
func tableOf(t *testing.T, name string, least int) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../../policy/provider/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		code, class, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || table[code] != "" {
			t.Fatalf("%s: given %q, want a new code and its class", name, line)
		}
		table[code] = class
	}
	if len(table) < least {
		t.Fatalf("%s: got %d codes, want at least %d", name, len(table), least)
	}
	return table
}
