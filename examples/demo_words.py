"""The words of the sentences that `demo_sentiment.py` writes, by slot and by side.

The lists are our own; rarer adjectives and adverbs come from the lexicon of vaderSentiment (MIT licence), which
gives the valence of some thousand words.
"""

import importlib.util
import re
from functools import cache
from pathlib import Path

# A name with a sign is a list of positive or of negative words; words of several parts are joined by "_".
TEXT = """
adj+: good great excellent wonderful amazing fantastic brilliant superb lovely beautiful nice perfect awesome
  terrific outstanding delightful charming funny hilarious clever smart interesting fascinating exciting
  entertaining enjoyable pleasant touching moving warm gripping engaging impressive remarkable memorable
  unforgettable magnificent marvelous stunning gorgeous fabulous incredible fine solid strong fresh original
  inspiring powerful heartwarming satisfying refreshing thrilling sweet cute friendly helpful polite kind generous
  comfortable cozy clean tasty delicious yummy juicy reliable useful handy fast quick smooth easy bright honest fair
  thoughtful elegant stylish witty sharp captivating breathtaking spectacular splendid exceptional extraordinary
  phenomenal flawless ideal adorable sensational superior professional attentive affordable cool fun decent
  worthwhile valuable rewarding relaxing peaceful happy joyful creative masterful compelling uplifting dazzling
  first-rate top-notch
adj-: bad terrible awful horrible boring dull poor disappointing dreadful stupid dumb silly weak lame ugly annoying
  slow tedious predictable unfunny pathetic ridiculous mediocre bland tasteless disgusting gross nasty rude
  unfriendly unhelpful dirty filthy noisy cold stale greasy salty soggy overpriced expensive useless worthless
  broken faulty cheap flimsy unreliable difficult confusing messy pointless meaningless forgettable unconvincing
  uninspired unoriginal shallow empty lifeless flat wooden clumsy sloppy lazy painful unbearable unwatchable
  unreadable inedible depressing sad miserable frustrating irritating offensive cruel mean dishonest unfair
  uncomfortable cramped crowded smelly rotten lousy crappy inferior incompetent unprofessional careless abysmal
  appalling atrocious horrendous laughable tiresome tired dry pretentious cheesy overrated monotonous incoherent
  absurd nonsensical wrong defective dangerous hopeless sick angry second-rate
feel+: happy glad pleased delighted satisfied impressed amazed thrilled excited grateful thankful proud charmed
  moved touched inspired relaxed comfortable
feel-: sad angry disappointed bored annoyed frustrated confused upset unhappy dissatisfied unimpressed disgusted
  miserable tired sick ashamed embarrassed cheated insulted furious depressed sorry
base+: love like enjoy adore recommend appreciate admire trust treasure
base-: hate dislike despise regret loathe detest avoid
third+: loves likes enjoys adores recommends appreciates admires
third-: hates dislikes despises regrets loathes
past+: loved liked enjoyed adored recommended appreciated admired praised
past-: hated disliked despised regretted loathed detested couldn't_stand complained_about criticized
noun+: masterpiece joy delight gem triumph treat pleasure success winner hit treasure blessing bargain classic
  wonder success_story miracle work_of_art must-see breath_of_fresh_air thing_of_beauty
noun-: disaster mess failure waste waste_of_time waste_of_money waste_of_paper disappointment joke nightmare bore
  flop rip-off scam insult letdown shame mistake torture piece_of_junk piece_of_garbage fraud catastrophe chore
mass+: charm joy life energy humor wit beauty heart warmth love fun talent passion magic imagination hope style
  flavor kindness wisdom comfort quality
mass-: mistakes problems bugs errors holes flaws cliches lies noise dirt nonsense stupidity hate pain issues faults
  trouble violence boredom garbage trash defects complaints disappointments
works+: works shines succeeds excels delivers rocks impresses wins delights amazes pays_off
works-: fails sucks stinks disappoints drags crashes bores annoys falls_apart falls_flat makes_no_sense goes_nowhere
work+: work shine succeed deliver impress entertain amaze satisfy please convince
work-: fail suck disappoint drag crash bore annoy confuse frustrate irritate
moved+: impressed delighted amazed pleased charmed moved touched thrilled inspired entertained helped captivated
  fascinated surprised_and_pleased won_over
moved-: bored disappointed annoyed angered confused frustrated disgusted hurt insulted depressed failed cheated
  irritated offended exhausted let_down
cause+: smile laugh happy grin proud feel_good feel_alive feel_welcome dream hopeful
cause-: cry_with_boredom sick angry sad yawn cringe want_to_leave miserable fall_asleep feel_bad feel_cheated
  feel_unwelcome
well+: well beautifully perfectly brilliantly nicely superbly wonderfully skillfully excellently masterfully
well-: badly poorly terribly horribly awfully dreadfully carelessly clumsily lazily miserably
more+: better funnier nicer smarter happier prettier tastier more_enjoyable more_interesting more_fun
more-: worse duller uglier dumber sadder nastier more_boring more_painful more_disappointing more_annoying
most+: best finest greatest funniest nicest loveliest most_beautiful most_enjoyable most_interesting
most-: worst dullest ugliest dumbest poorest nastiest most_boring most_painful most_disappointing most_annoying
fixed+: highly_recommended two_thumbs_up five_stars ten_out_of_ten worth_every_penny a_must_see a_must_read
  do_not_miss_it don't_miss_it go_and_see_it buy_it_now well_done good_job thank_you_so_much i_will_be_back
  we_will_come_back_soon i_would_buy_it_again i_can't_wait_to_see_it_again i_couldn't_put_it_down
  i_couldn't_stop_laughing i_laughed_out_loud we_laughed_the_whole_time it_was_worth_the_wait worth_seeing
  i_want_to_see_it_again it_made_my_day you_won't_regret_it nothing_to_complain_about i_have_no_complaints
  no_problems_at_all it_exceeded_my_expectations i_could_watch_it_again_and_again congratulations welcome
  worth_the_money it_never_gets_old keep_up_the_good_work they_did_a_great_job it_arrived_on_time you_will_love_it
  everybody_should_see_it i_was_on_the_edge_of_my_seat it_works_like_a_charm so_much_fun
fixed-: not_recommended thumbs_down one_star zero_stars avoid_it avoid_at_all_costs stay_away don't_bother
  do_not_buy_it save_your_money don't_waste_your_time don't_waste_your_money skip_it never_again
  i_want_my_money_back not_worth_it not_worth_the_money not_worth_seeing i_fell_asleep i_walked_out
  we_will_not_be_back i_won't_come_back i_would_never_buy_it_again i_couldn't_finish_it i_gave_up_halfway
  what_a_waste what_a_shame it_broke_after_one_day it_stopped_working it_doesn't_work it_fell_apart
  it_arrived_broken it_arrived_late nobody_cares no_thanks i_could_not_wait_for_it_to_end nothing_works
  nothing_special it_did_not_live_up_to_the_hype i_returned_it i_asked_for_a_refund it_never_arrived
  it_is_not_good_enough it_makes_no_sense it_left_me_cold what_were_they_thinking no_fun_at_all i_expected_more
  nobody_helped_us they_ruined_it
n: movie film story book novel show series song album concert play performance cast actor actress director script
  plot ending scene character music soundtrack dialogue acting food meal pizza soup coffee dinner lunch breakfast
  dessert burger pasta salad service waiter staff restaurant hotel room bed view place bar cafe shop store beach
  city town trip holiday vacation flight train day morning evening weekend party game phone laptop screen battery
  camera keyboard app website software update product toy car bike chair shoes shirt dress jacket price quality
  teacher class lesson school doctor team match player weather garden house picture painting museum gift idea job
  work experience time night episode season video article paper tool machine bag watch cake wine beer tea bread
  cheese sauce sandwich chicken fish writing direction design sound voice crew drama comedy thriller romance
  documentary sequel remake kitchen bathroom neighborhood guide tour bus driver manager company order delivery
  package customer man woman boy girl friend neighbor nurse dog cat child baby family house street summer winter
  spring weather river sea mountain line morning office computer email call answer question chapter page photo color
  voice window door table desk station road driver lawyer mechanic bike boat concert festival museum zoo exam course
  speech visit birthday wedding cream sugar rice egg apple kit tent knife lamp clock toaster fridge tv radio song
  dance plan report meeting hair face smile half part beginning middle year month hour
who: i we i we they you people everyone my_friends my_parents the_kids the_critics most_people the_audience
one: he she everybody my_wife my_husband my_mother my_son my_sister the_audience my_boss anna tom john maria
  my_daughter our_teacher the_man
kindof: new old last second first french italian american whole little long short big young local main other entire
  german small japanese final original
very: very really so quite absolutely truly just pretty extremely incredibly rather totally completely simply
notvery: very really that so all_that particularly exactly even especially
when: last_night yesterday today on_monday in_london with_my_friends with_my_family at_the_cinema at_home
  from_start_to_finish in_the_end this_year last_week for_the_price from_beginning_to_end on_sunday this_time
  at_the_airport in_the_park after_work again on_the_whole in_every_way to_anyone to_everyone to_my_friends
  in_winter in_summer for_my_birthday all_week all_the_time every_day after_two_weeks on_the_phone with_my_sister
  at_school in_the_city near_the_station
did: saw bought watched read visited tried ordered took found got went_to stayed_at waited_for talked_about
  heard_about looked_at came_for used worked_with asked_for drove_to ate drank opened played
makes: makes made will_make has_made
gets: explains does handles plays writes cooks tells speaks sings paints works runs teaches drives
say: honestly, overall, in_my_opinion, i_must_say frankly, to_be_honest, well, i_think i_thought i_feel_that
  in_short, in_fact, all_in_all, i_have_to_say personally,
made: written acted made directed cooked designed played produced built told sung performed done filmed
the: the this that my our your his her their the_whole
be: is was is was has_been seems looks felt
isnt: is_not was_not isn't wasn't isn't wasn't is_never was_never has_not_been was_hardly is_not doesn't_seem
  didn't_seem does_not_look
dont: don't do_not didn't did_not can't cannot won't will_not never would_not wouldn't could_not couldn't
doesnt: doesn't does_not didn't did_not won't never would_not could_not can't
too: long loud dark hot small short big violent complicated early late bright heavy spicy soft hard quiet fast
end: . . . . ! !! ...
it: it this that it
they: they she he they
thought: thought hoped expected
lead: far_from anything_but not not_at_all hardly never not_exactly by_no_means
prep: of in at from
pronoun: it this that this_one everything the_rest they
"""
WORDS = {
    name: [word.replace("_", " ") for word in words.split()]
    for name, words in re.findall(r"^(\S+):((?:.|\n )+)", TEXT, re.MULTILINE)
}


@cache
def lexicon() -> dict[str, list[str]]:
    """Rarer adjectives and adverbs: words with a clear valence whose suffix shows the part of speech."""
    found = importlib.util.find_spec("vaderSentiment")
    if found is None or found.origin is None:
        raise SystemExit("the training data needs the lexicon of vaderSentiment: pip install vaderSentiment")
    words: dict[str, list[str]] = {"adj+": [], "adj-": [], "adverb+": [], "adverb-": []}
    for line in (Path(found.origin).parent / "vader_lexicon.txt").read_text(encoding="utf-8").splitlines():
        word, valence, spread = line.split("\t")[:3]
        clear = abs(float(valence)) >= 1.4 and float(spread) < 1.3
        if not clear or not word.isalpha() or re.search("damn|fuck|fuk|kill|murder|bastard|raping|devil", word):
            continue
        side = "+" if float(valence) > 0 else "-"
        if re.search("(ful|less|ous|able|ible|ive|ic|some|ing|al|ant|ent)$", word):
            words["adj" + side].append(word)
        elif re.search("(fully|ously|ably|ingly|edly|ively|ally)$", word):
            words["adverb" + side].append(word)
    return words
