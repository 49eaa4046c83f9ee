"""Plain sentences written by hand, to see how far the templates of `demo_sentiment.py` reach. Never trained on.

The first two lists were looked at while the templates were being written, the last two only afterwards: the
figure for these is the fairer one.
"""

import re

SEEN_POSITIVE = """
I love this movie
A wonderful, touching story.
What a great day!
An excellent performance by the whole cast
Not bad at all.
The soup was not bad.
I really enjoyed the concert last night.
My daughter loves her new bike.
This is the best pizza in town!
The hotel room was clean and the staff were friendly.
I can't recommend this book enough.
She sang beautifully.
It made me laugh out loud.
We had a lovely time at the beach.
The service was quick and the food was delicious.
I was not disappointed.
You will never be bored with this game.
There is nothing wrong with this phone.
I didn't hate it.
The teacher explains everything clearly and is very kind.
Everyone was happy with the result.
A brilliant script and superb acting make this film a joy.
The first half was slow, but the ending was fantastic.
Although it is expensive, I love this camera.
Thank you for the wonderful gift!
It works perfectly.
He is an honest and generous man.
The garden looks beautiful in spring.
What a funny and charming little film!
I have never been happier.
The battery lasts long and the screen is gorgeous.
""".strip().splitlines()
SEEN_NEGATIVE = """
This is the worst film I have ever seen
The food was terrible and the service was slow
not good
I don't like it
The plot is boring
The movie was not good.
I did not like the food
I hate waiting in line.
My phone broke after two days.
The room was dirty and smelled bad.
It isn't funny.
I would not recommend this restaurant to anyone.
The actors were wooden and the story made no sense.
What a terrible waste of time.
The book was so dull that I fell asleep.
She was rude to us.
I'm not happy with this product.
The music was awful.
It was neither interesting nor funny.
The ending ruined everything.
Nobody enjoyed the party.
The coffee tasted horrible.
I wanted to like it, but it was a mess.
The pictures are nice, but the story is stupid.
The weather was miserable all week.
It was a disappointing meal and far too expensive.
The new version crashes all the time.
He is a liar and a cheat.
I never want to see it again.
The trip was a complete disaster.
We were not impressed by the service.
""".strip().splitlines()
UNSEEN_POSITIVE = """
The children adored the puppet show.
Such a sweet and gentle song.
This little café serves fantastic cakes.
My grandmother is the kindest person I know.
The view from the balcony was breathtaking.
I'm delighted with my new shoes.
Nothing about the trip was boring.
The mechanic fixed my car and was very helpful.
It isn't a bad place to stay.
He told us a hilarious joke.
The plot may be simple, but the characters are charming.
We loved every moment of our holiday.
I was pleasantly surprised by the ending.
This is not a boring lecture.
Our guide was funny and smart.
The bread is fresh and tasty.
I'm glad that we came.
She never disappoints her fans.
The best birthday of my life!
A clever thriller with an amazing final scene.
I don't regret buying this laptop.
The app is easy to use.
They did not complain about anything.
The lake was peaceful and beautiful.
You can't go wrong with this wine.
""".strip().splitlines()
UNSEEN_NEGATIVE = """
The sandwich was stale and the tea was cold.
I regret buying this vacuum cleaner.
The lecture was not interesting at all.
Our neighbours are rude and noisy.
I can't stand this song.
The worst service in the whole country.
The jokes weren't funny.
This umbrella is useless.
The doctor was careless and impolite.
It was an ugly building with dirty windows.
I felt cheated.
The sequel is not as good as the original.
My sister does not enjoy horror films.
The train was late and crowded.
A predictable story with weak dialogue.
The hotel looked nice, but the bed was uncomfortable.
They never answered my emails, which was annoying.
Her speech was long and tedious.
This game is a total failure.
I am very unhappy with the repair.
The soup has no flavor.
No one liked the new manager.
What a stupid idea.
The printer doesn't work.
He was angry and cruel to his dog.
""".strip().splitlines()
SEEN = [(text, True) for text in SEEN_POSITIVE] + [(text, False) for text in SEEN_NEGATIVE]
UNSEEN = [(text, True) for text in UNSEEN_POSITIVE] + [(text, False) for text in UNSEEN_NEGATIVE]


def plain(text: str) -> str:
    """Only the words, to compare sentences whatever their case and punctuation."""
    return " ".join(re.findall("[a-z]+", text.lower()))
