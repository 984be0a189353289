// Reads a level from each line into the header level, and drops lines below
// the setting least.
package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"plugins/aqueduct"
)

var levels = []string{"DEBUG", "INFO", "WARN", "ERROR"}

type interceptor struct{ least int }

func index(level string) int {
	for i, known := range levels {
		if known == level {
			return i
		}
	}
	return -1
}

func (p interceptor) Intercept(event aqueduct.Event) ([]aqueduct.Event, error) {
	if !utf8.Valid(event.Body) {
		return nil, errors.New("the body is not UTF-8")
	}
	found := "INFO"
	for _, level := range levels {
		if strings.Contains(string(event.Body), level) {
			found = level
			break
		}
	}
	if index(found) < p.least {
		return nil, nil
	}
	event.Headers["level"] = found
	return []aqueduct.Event{event}, nil
}

func main() {
	aqueduct.Run("levels", func(settings aqueduct.Settings) (any, error) {
		least := settings.Text("least")
		if least != "" && index(least) < 0 {
			return nil, fmt.Errorf("least must be one of %v", levels)
		}
		return interceptor{least: index(least)}, nil
	})
}
