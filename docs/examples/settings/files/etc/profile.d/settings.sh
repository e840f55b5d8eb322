EDITOR=vi
export EDITOR
