package policy

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const capturing = `
version: 1
provider: tables
default: fail
operations:
  - {method: GET, path: '/v0/meta/bases', operation: bases.list}
  - {method: GET, path: '/v0/{base}/{table}/{record}', operation: records.get}
  - {path: '/v0/{base}/*', operation: records}
  - {path: '/repos/{owner}/{repo}/**', operation: repo}
  - {path: '/**/folders/{folder}', operation: folder}
  - {path: '/files/a*', operation: files}
%s
`

// TestCapture holds which segments of a path become facts: each as it was sent, without
// its escapes, in its own case, and of a bounded length.
func TestCapture(t *testing.T) {
	long := strings.Repeat("ä", 300)
	many := "" // so that the operations are found by their index
	for i := range 12 {
		many += fmt.Sprintf("  - {path: '/other/%d', operation: other.%d}\n", i, i)
	}
	for _, more := range []string{"", many} {
		set, ds := Load([]File{{Name: "tables.yaml", Data: []byte(fmt.Sprintf(capturing, more))}}, LoadOptions{})
		if set == nil {
			t.Fatal(ds)
		}
		p, _ := set.Policy("tables")
		for _, tt := range []struct{ path, operation, facts string }{
			{"/v0/meta/bases", "bases.list", "map[]"},
			{"/v0/appX/Tasks/rec1", "records.get", "map[base:appX record:rec1 table:Tasks]"},
			{"/v0/appX/My%20Tasks/rec1", "records.get", "map[base:appX record:rec1 table:My Tasks]"},
			{"/v0/app%2FX/Tasks", "records", "map[base:app/X]"},
			{"/v0/app%2FX/Tasks/rec%2F1", "records.get", "map[base:app/X record:rec/1 table:Tasks]"},
			{"/v0/APPX/Tasks", "records", "map[base:APPX]"},
			{"/v0/%C3%A4/Tasks", "records", "map[base:ä]"},
			{"/v0/%FF/Tasks", "records", "map[base:\ufffd]"},
			{"/v0//Tasks", "", "map[]"},
			{"/v0/appX", "", "map[]"},
			{"/repos/o/r/issues/7/comments", "repo", "map[owner:o repo:r]"},
			{"/repos/o/r", "repo", "map[owner:o repo:r]"},
			{"/a/b/folders/INBOX", "folder", "map[folder:INBOX]"},
			{"/folders/IN%2FBOX", "folder", "map[folder:IN/BOX]"},
			{"/files/abc", "files", "map[]"},
			{"/v0/" + long + "/Tasks", "records", "map[base:" + long[:256] + "]"},
		} {
			u, err := url.Parse("https://x.example" + tt.path)
			if err != nil {
				t.Fatal(err)
			}
			r := Request{Method: "GET", Host: u.Host, Path: u.Path, RawPath: u.RawPath}
			operation, facts := p.NameRequest(&r)
			if operation != tt.operation || fmt.Sprint(facts) != tt.facts {
				t.Errorf("given %.60s (of %d operations)\ngot  %q, %.300v\nwant %q, %.300s", tt.path, len(p.Operations), operation, facts, tt.operation, tt.facts)
			}
		}
	}
}

func TestMissing(t *testing.T) {
	l := Limit{Key: []string{"account", "base", "table"}}
	for _, tt := range []struct {
		facts map[string]string
		want  string
	}{
		{nil, "base"}, {map[string]string{"base": "a"}, "table"}, {map[string]string{"base": "", "table": "t"}, "base"},
		{map[string]string{"base": "a", "table": "t"}, ""},
	} {
		if got := l.Missing(tt.facts); got != tt.want {
			t.Errorf("given %v: got %q, want %q", tt.facts, got, tt.want)
		}
	}
}
