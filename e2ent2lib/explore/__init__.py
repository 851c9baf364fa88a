"""Things to play with: state and computing in files of their own, apart from the widgets that show them."""
