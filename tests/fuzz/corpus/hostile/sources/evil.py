def forward(self):
    x = '[red]boo[/red] [31mred[0m ]0;title ‮abc [link=file:///]x[/]'  # [bold]
    return x
