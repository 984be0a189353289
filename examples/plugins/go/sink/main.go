// Stores each event once: in a file of its own, whose name is the id of the
// event.
package main

import (
	"os"
	"path/filepath"
	"strings"

	"plugins/aqueduct"
)

type sink struct{ directory string }

func (p sink) Deliver(events []aqueduct.Event) []error {
	outcomes := make([]error, len(events))
	for i, event := range events {
		name := strings.ReplaceAll(event.ID, "/", "-")
		outcomes[i] = p.store(filepath.Join(p.directory, name), event.Body)
	}
	return outcomes
}

func (p sink) store(path string, body []byte) error {
	if len(body) == 0 {
		return aqueduct.Refuse{Reason: "the body is empty"}
	}
	if err := os.WriteFile(path+".new", append(body, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func main() {
	aqueduct.Run("files", func(settings aqueduct.Settings) (any, error) {
		directory := settings.Text("path")
		return sink{directory}, os.MkdirAll(directory, 0o700)
	})
}
