#!/bin/sh
# One line of progress: minutes and seconds since `make` began, then what is said.
elapsed=$(($(date +%s) - ${T0:-$(date +%s)}))
printf '[%2d:%02d] %s\n' $((elapsed / 60)) $((elapsed % 60)) "$*"
