// The hook tools of lab/juju: one program under each tool's name.
//
// It hands its command line to the agent and prints the answer. A hook starts some twenty of them,
// so what counts is the time that one takes to start; federation_lab/juju/toolclient.py does the
// same in Python where this program isn't built, and says more of the protocol.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	code, err := call(filepath.Base(os.Args[0]), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "ERROR", err)
		code = 1
	}
	os.Exit(code)
}

// call has one tool carried out; it gives the exit code that the agent answers.
func call(tool string, arguments []string) (int, error) {
	address := os.Getenv("JUJU_AGENT_SOCKET_ADDRESS")
	context := os.Getenv("JUJU_CONTEXT_ID")
	if address == "" || context == "" {
		return 1, fmt.Errorf("%s runs in a hook only: JUJU_CONTEXT_ID is not set", tool)
	}
	parts := [][]byte{[]byte(context), []byte(strconv.Itoa(len(arguments) + 1)), []byte(tool)}
	for _, argument := range arguments {
		parts = append(parts, []byte(argument))
	}
	files, err := attached(arguments)
	if err != nil {
		return 1, err
	}
	answer, err := ask(address, frames(append(parts, files...)))
	if err != nil {
		return 1, err
	}
	if len(answer) != 3 {
		return 1, errors.New("the agent closed the connection")
	}
	os.Stdout.Write(answer[1])
	os.Stderr.Write(answer[2])
	return strconv.Atoi(string(answer[0]))
}

// attached gives name and content of the files that arguments name; "-" is standard input.
func attached(arguments []string) ([][]byte, error) {
	var found [][]byte
	for index, argument := range arguments {
		name := ""
		if argument == "--file" && index+1 < len(arguments) {
			name = arguments[index+1]
		} else if rest, is := strings.CutPrefix(argument, "--file="); is {
			name = rest
		} else if _, rest, is := strings.Cut(argument, "#file="); is {
			name = rest
		}
		if name == "" {
			continue
		}
		content, err := read(name)
		if err != nil {
			return nil, err
		}
		found = append(found, []byte(name), content)
	}
	return found, nil
}

func read(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

// ask sends a message and gives the parts of the answer.
func ask(address string, message []byte) ([][]byte, error) {
	// Without the package net, which would double the time to start.
	descriptor, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Connect(descriptor, &syscall.SockaddrUnix{Name: address}); err != nil {
		return nil, &os.PathError{Op: "connect", Path: address, Err: err}
	}
	connection := os.NewFile(uintptr(descriptor), address)
	defer connection.Close()
	if _, err := connection.Write(message); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(connection)
	if err != nil {
		return nil, err
	}
	return split(data), nil
}

// frames gives parts as one message: their number, then each with its length before it.
func frames(parts [][]byte) []byte {
	message := binary.BigEndian.AppendUint32(nil, uint32(len(parts)))
	for _, part := range parts {
		message = binary.BigEndian.AppendUint32(message, uint32(len(part)))
		message = append(message, part...)
	}
	return message
}

// split takes a message apart; what was cut off is left out.
func split(data []byte) [][]byte {
	var parts [][]byte
	if len(data) < 4 {
		return nil
	}
	for data = data[4:]; len(data) >= 4; {
		size := int(binary.BigEndian.Uint32(data))
		if data = data[4:]; size > len(data) {
			return nil
		}
		parts = append(parts, data[:size])
		data = data[size:]
	}
	return parts
}
