package simulate

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/recourse-go/recourse/policy"
)

func TestTry(t *testing.T) {
	for _, f := range Builtin() {
		s, ds := Parse(f)
		if s == nil {
			t.Fatal(ds.Err())
		}
		for _, d := range ds {
			t.Error(d)
		}
		began := time.Now()
		r, err := Run(t.Context(), s, policy.Builtin(), 1)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("#### ", s.Name, time.Since(began))
		j, _ := json.Marshal(r.Totals)
		fmt.Println(string(j))
		for _, o := range r.Operations {
			j, _ := json.Marshal(o)
			fmt.Println("  ", string(j))
		}
		fmt.Println(r.End, r.Series.Interval, "waiting", r.Series.Waiting)
		fmt.Println("requests", r.Series.Requests, "refusals", r.Series.Refusals)
	}
}
