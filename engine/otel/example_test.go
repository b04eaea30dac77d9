package recourseotel_test

import (
	"fmt"
	"net/http"

	"github.com/recourse-go/recourse/engine"
	recourseotel "github.com/recourse-go/recourse/engine/otel"
)

// The global providers get the spans and metrics of every call; a log stands beside them.
func Example() {
	observer, err := recourseotel.New(recourseotel.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	eng, err := engine.New(engine.Options{
		Observer: engine.Observers{observer, engine.LogObserver(nil)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: eng.Transport(nil)}
	_ = client
}
