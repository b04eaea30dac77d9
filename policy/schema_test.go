package policy

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files and policy.schema.json")

func TestSchemaIsCurrent(t *testing.T) {
	const file = "policy.schema.json"
	if !json.Valid(Schema()) {
		t.Fatalf("Schema() is not JSON:\n%s", Schema())
	}
	if *update {
		if err := os.WriteFile(file, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, Schema()) {
		t.Errorf("%s is not what Schema() renders: run go test ./policy -run TestSchemaIsCurrent -update", file)
	}
}
